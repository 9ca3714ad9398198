"""Training loops, devices, seeds and checkpoints."""
