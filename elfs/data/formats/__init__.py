"""What single file formats need beyond Pillow: what is whole, which page is the picture, samples that it misreads.

Every ``read_FORMAT(data, max_pixels)`` takes the bytes of a whole file and how many pixels, width x height, its header
may say. It returns the first frame as a Pillow image of any mode whose conversion to RGB is right, as it is stored (not
turned), and, for formats that can hold several frames, whether there are more. It raises a `BadImageError`: BROKEN
where pixels are missing or damaged, TOO_LARGE, or UNSUPPORTED where the file is whole but its kind cannot be read.
"""
