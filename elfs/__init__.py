"""Pick which of your unlabelled images to annotate: label-free coreset selection (ELFS)."""

__version__ = "0.1.0"
