"""Python's face of elfs: what ``import elfs`` offers. Thin: each function hands on to what the commands call too."""
