"""What single file formats need beyond Pillow: what is whole, which page is the picture, samples that it misreads."""
