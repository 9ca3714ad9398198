"""What true labels say. The only package that reads them."""
