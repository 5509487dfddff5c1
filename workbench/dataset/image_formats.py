"""Which image files petbench reads: formats, the endings of their names, why others are not read."""

from __future__ import annotations

import importlib
from functools import cache

_OWN = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo", ".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
}
"""Formats, by Pillow's names, that every Pillow reads. The rest stays shut: EPS, say, runs Ghostscript."""

_OPTIONAL = {
    "AVIF": ("avif", (".avif", ".avifs")),
    "JPEG2000": ("jpg_2000", (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")),
}
"""Formats that Pillow reads if it was built with a library, by its name of that feature."""

_PLUG_INS = {
    "HEIF": ("pillow_heif", "pillow-heif", (".heic", ".heics", ".heif", ".heifs", ".hif")),
    "JXL": ("pillow_jxl", "pillow-jxl-plugin", (".jxl",)),
}
"""Formats that a package adds to Pillow: its module, its name for pip, endings."""

_RAW = (".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".srw", ".pef")
_DRAWN = (".svg", ".svgz", ".ai", ".eps", ".pdf", ".psd", ".psb", ".xcf", ".ico", ".icns")
_OTHERS = (*_RAW, *_DRAWN, ".tga", ".dds", ".pcx", ".exr", ".hdr", ".qoi", ".jxr", ".bpg", ".dcm", ".fits")
"""Endings of pictures that petbench does not read: passed over, but not without a word of it."""


@cache
def readable_formats() -> dict[str, tuple[str, ...]]:
    """Format by Pillow's name -> endings of such files, of all that can be read here; plug-ins are loaded."""
    from PIL import features

    optional = {name: ends for name, (feature, ends) in _OPTIONAL.items() if features.check(feature)}
    added = {name: ends for name, (module, _, ends) in _PLUG_INS.items() if _loaded(module)}
    return _OWN | optional | added


@cache
def tried_formats() -> tuple[str, ...]:
    """What Pillow may try; it finds MPO, a JPEG with more pictures behind it, by itself."""
    return tuple(name for name in readable_formats() if name != "MPO")


@cache
def image_endings() -> frozenset[str]:
    """Endings, lower case with their dot, of the files that are taken for images."""
    return frozenset(ending for endings in readable_formats().values() for ending in endings)


def why_not_read(ending: str) -> str:
    """Why pictures of this ending are passed over; empty of those that are read, and of no picture's."""
    low = ending.lower()
    if low in image_endings():
        return ""
    for _, package, endings in _PLUG_INS.values():
        if low in endings:
            return f"can be read after pip install {package}"
    for name, (_, endings) in _OPTIONAL.items():
        if low in endings:
            return f"this Pillow was built without {name}: pip install --upgrade pillow"
    return "petbench reads no such pictures; convert them, to PNG for one" if low in _OTHERS else ""


def _loaded(module: str) -> bool:
    """Whether Pillow has the plug-in now."""
    try:
        plug_in = importlib.import_module(module)
        register = getattr(plug_in, "register_heif_opener", None)
        if register is not None:
            register()
    except Exception:  # not installed, or not for this Pillow: its files are told as unread
        return False
    return True
