"""The parts of cluster: the pool as it is clustered, and the four methods."""
