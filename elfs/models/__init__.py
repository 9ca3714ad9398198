"""Encoders, cluster heads and proxy networks."""
