"""The directory that describes itself: manifest, tensors, lock, freshness."""
