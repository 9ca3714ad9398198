"""Training loops, recipes, seeds and checkpoints."""
