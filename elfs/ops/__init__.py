"""Pure tensor functions: losses, scores, selectors, neighbours."""
