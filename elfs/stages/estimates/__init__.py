"""What a chain will take before it starts: what is known of the pool then, and what each stage costs."""
