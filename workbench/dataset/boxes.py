"""Head boxes from the Oxford set's XML files (the PASCAL VOC layout), read with distrust."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.dataset.catalogue import HeadBox

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_BYTES = 64 * 1024
"""The set's own files have about 700 bytes."""

SLACK = 0.02
"""How far a box may stick out, as a share of the image, and still be clipped: a slip by some pixels."""


class BadBox(Exception):
    """An XML file without a usable head box; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def read_head_box(path: Path) -> HeadBox:
    """The first object's box, as fractions of the `<size>` that the XML itself names.

    Fractions make the box right for any size that the image has on disk. Only `<size>` and `<bndbox>` are
    needed; pose, truncated and the other tags may be missing.

    Raises:
        BadBox: unreadable, larger than MAX_BYTES, a DOCTYPE, not XML, no size, or a box that is inverted,
            without area, or outside the image by more than SLACK.
    """
    root = _parse(path)
    width, height = _number(root, "size/width"), _number(root, "size/height")
    if width <= 0 or height <= 0:
        raise BadBox(f"image size {width:g} × {height:g}")
    box = root.find("object/bndbox")
    if box is None:
        raise BadBox("no <bndbox>")
    left, right = (_number(box, tag) / width for tag in ("xmin", "xmax"))
    top, bottom = (_number(box, tag) / height for tag in ("ymin", "ymax"))
    if left >= right or top >= bottom:
        raise BadBox("box without area or inverted")
    if min(left, top) < -SLACK or max(right, bottom) > 1 + SLACK:
        raise BadBox("box outside the image")
    clipped = HeadBox(max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0))
    if clipped.left >= clipped.right or clipped.top >= clipped.bottom:
        raise BadBox("box outside the image")
    return clipped


def _parse(path: Path) -> _Element:
    """The root element. No entity is resolved, no DTD loaded, no network used; then a DOCTYPE is refused."""
    from lxml import etree

    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadBox(error.strerror or "cannot be read") from None
    if len(content) > MAX_BYTES:
        raise BadBox(f"larger than {MAX_BYTES} bytes")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BadBox(f"not XML: {error}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise BadBox("has a DOCTYPE")
    return root


def _number(parent: _Element, tag: str) -> float:
    text = parent.findtext(tag)
    if text is None:
        raise BadBox(f"no <{tag}>")
    try:
        value = float(text)
    except ValueError:
        raise BadBox(f"<{tag}> is not a number") from None
    if not math.isfinite(value):
        raise BadBox(f"<{tag}> is not a number")
    return value
