"""Images to rows: the listing of a source, decoding, loaders. No true label passes through here.

Modules are imported by name (``elfs.data.samples`` needs only numpy, ``elfs.data.loaders`` needs torch).
"""
