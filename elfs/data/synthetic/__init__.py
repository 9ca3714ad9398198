"""An image pool with known classes, redundancy, ambiguity, outliers, imbalance and duplicates, drawn from a seed."""
