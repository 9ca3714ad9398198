"""What a file is, by its first bytes. Names lie: a GIF called ``.jpg`` is a GIF."""

__all__ = ["HEAD_BYTES", "IMAGE_EXTENSIONS", "SIDECAR_EXTENSIONS", "describe_other", "name_other", "sniff"]

HEAD_BYTES = 32
"""How many bytes of a file `sniff` looks at."""

IMAGE_EXTENSIONS = frozenset(
    b".apng .avif .bmp .dib .gif .heic .heif .j2k .jfif .jp2 .jpe .jpeg .jpg .jxl .mpo .pbm .pgm .png .pnm .ppm .tif "
    b".tiff .webp".split()
)
"""Extensions (lower case) whose files are taken for images without a look inside."""

SIDECAR_EXTENSIONS = frozenset(
    b".bz2 .csv .gz .htm .html .ini .ipynb .json .jsonl .lock .log .md .parquet .pdf .py .rst .sh .tar .tgz .toml .tsv "
    b".txt .xml .xz .yaml .yml .zip .zst".split()
)
"""Extensions (lower case) that lie beside images by the million and are never opened to see whether they are one."""

_PREFIXES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (b"\xff\x0a", "jxl"),
)
_OTHERS = (
    (b"8BPS", "a Photoshop file"),
    (b"v/1\1", "an OpenEXR image"),
    (b"DDS ", "a DirectDraw surface"),
    *((b"P7" + blank, "a PAM image") for blank in (b"\n", b"\r\n", b" ")),
    *((letters + blank, "a PFM image") for letters in (b"PF", b"Pf") for blank in (b"\n", b"\r\n", b" ", b"\t")),
    (b"PH\n", "a PFM image"),
    (b"\1\xda", "an SGI image"),
    (b"#?RADIANCE", "a Radiance image"),
    (b"SIMPLE  =", "a FITS image"),
    (b"qoif", "a QOI image"),
    (b"gimp xcf", "a GIMP file"),
    (b"IIU\0", "camera raw"),
    (b"IIRO", "camera raw"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"FOVb", "camera raw"),
    (b"%PDF", "a PDF"),
    (b"<svg", "an SVG drawing"),
    (b"II\xbc\1", "a JPEG XR image"),
    (b"Lerc2 ", "a LERC image"),
    (b"CntZImage ", "a LERC image"),
    (b"BPG\xfb", "a BPG image"),
    (b"FLIF", "a FLIF image"),
    (b"SDPX", "a DPX image"),
    (b"XPDS", "a DPX image"),
    (b"\x8aMNG\r\n\x1a\n", "an MNG animation"),
    (b"\x97JB2\r\n\x1a\n", "a JBIG2 image"),
    (b"\xff\x10\xff\x50", "a JPEG XS image"),
    (b"\x59\xa6\x6a\x95", "a Sun raster image"),
    (b"AT&TFORM", "a DjVu page"),
    (b"\xabKTX ", "a texture (KTX)"),
    (b"icns", "an icon"),
    (b"\x8bJNG\r\n\x1a\n", "a JNG image"),
    (b"\x80\x2a\x5f\xd7", "a Cineon image"),
    (b"BLP1", "a texture (BLP)"),
    (b"BLP2", "a texture (BLP)"),
    (b"id=ImageMagick", "a MIFF image"),
    (b"/* XPM */", "an XPM image"),
    (b"LBLSIZE=", "a VICAR image"),
    (b"%!PS", "a PostScript drawing"),
    (b"DanM", "a Paint image (MSP)"),
    (b"\xab\1", "a VIFF image"),
    (b"Image type: ", "an IM image"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"CDF\1", "a NetCDF file"),
    (b"CDF\2", "a NetCDF file"),
)
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_VIDEO_BRANDS = frozenset(
    (b"isom", b"iso2", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ", b"3gp4", b"3gp5")
)
_BMP_HEADER_BYTES = frozenset((12, 40, 52, 56, 64, 108, 124))


def sniff(head: bytes) -> str | None:
    """Return the kind of image that starts with these bytes.

    Parameters
    ----------
    head : bytes
        The start of a file; `HEAD_BYTES` of it are enough, more are ignored.

    Returns
    -------
    str or None
        One of avif, bmp, gif, heic, jpeg, jpeg2000, jxl, png, ppm, tiff, webp; None if it is no image that elfs knows.
    """
    head = head[:HEAD_BYTES]
    for prefix, kind in _PREFIXES:
        if head.startswith(prefix):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return _sniff_media_container(head)
    if head[:2] == b"BM" and int.from_bytes(head[14:16], "little") in _BMP_HEADER_BYTES:
        return "bmp"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "ppm"
    return None


def _sniff_media_container(head: bytes) -> str | None:
    brand = head[8:12]
    compatible = {head[start : start + 4] for start in range(16, len(head), 4)}
    if brand in _AVIF_BRANDS or (brand in (b"mif1", b"msf1") and compatible & _AVIF_BRANDS):
        return "avif"
    return "heic" if brand in _HEIC_BRANDS else None


def name_other(data: bytes) -> str | None:
    """Return the name of an image format that elfs does not read.

    Parameters
    ----------
    data : bytes
        The whole file or its start, which is no image by `sniff`.

    Returns
    -------
    str or None
        Such as "a Photoshop file"; None if it is none that elfs knows by name.
    """
    if data[4:12] == b"ftypcrx ":
        return "camera raw"
    if data[128:132] == b"DICM":
        return "a DICOM image"
    if data[4:8] == b"ftyp" and data[8:12] in _VIDEO_BRANDS:
        return "a video"
    for prefix, name in _OTHERS:
        if data.startswith(prefix):
            return name
    return _name_by_fields(data)


def _name_by_fields(data: bytes) -> str | None:
    """Name a format that has no magic number, by the fields of its header that can have few values."""
    if len(data) < HEAD_BYTES:
        return None
    if data[:2] == b"\0\0" and data[2:4] in (b"\1\0", b"\2\0") and data[4:6] != b"\0\0" and not data[9]:
        return "an icon" if data[2] == 1 else "a cursor"
    if data[:1] == b"\n" and data[1] in (0, 2, 3, 4, 5) and data[2] == 1 and data[3] in (1, 2, 4, 8):
        return "a PCX image"
    if _is_targa(data):
        return "a TGA image"
    if data[4:8] == b"\0\0\0\7" and data[:2] == b"\0\0" and data[8:12] in (b"\0\0\0\2", b"\0\0\0\1"):
        return "an XWD image"
    if data[:4] == b"\x28\0\0\0" and data[12:14] == b"\1\0" and data[14] in (1, 4, 8, 16, 24, 32) and not data[15]:
        return "a BMP without the header of its file"
    if data[522:526] == b"\0\x11\2\xff":
        return "a PICT drawing"
    return "an XBM image" if data.startswith(b"#define ") and b"_width " in data[:200] else None


def _is_targa(data: bytes) -> bool:
    """Return whether all fields are such as a TGA image has: it begins with the length of a comment."""
    has_colors, kind, depth = data[1], data[2], data[16]
    if has_colors:
        fits = has_colors == 1 and kind in (1, 9) and data[7] in (15, 16, 24, 32) and depth in (8, 16)
    else:
        fits = kind in (2, 3, 10, 11) and not any(data[3:8]) and depth in (8, 15, 16, 24, 32)
    return fits and any(data[12:14]) and any(data[14:16]) and not data[17] & 0xC0


def describe_other(data: bytes) -> str:
    """Say what a file is that is no image.

    Parameters
    ----------
    data : bytes
        The whole file or its start.

    Returns
    -------
    str
        A reason for people, such as "an HTML page, not an image".
    """
    if not data:
        return "empty file"
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page, not an image"
    control = sum(byte < 32 and byte not in b"\t\n\r\f" for byte in head)
    return "not an image format that elfs knows" if control else "text, not an image"
