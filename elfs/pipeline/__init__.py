"""What runs a stage, knows its upstream, and says what is stale."""
