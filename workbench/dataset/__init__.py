"""Which images exist: the Oxford set, any folder, the drawn sample; labels, head boxes, splits, checks."""

from workbench.dataset.catalogue import Catalogue, HeadBox, ImageRecord, LeftOut
from workbench.dataset.open import open_catalogue
from workbench.dataset.probe import UnreadableImage, decode_image
from workbench.dataset.split import Split, make_split
from workbench.dataset.split_file import SPLIT_FILE, load_split, save_split
from workbench.dataset.split_summary import SplitSummary, split_summary

__all__ = [
    "SPLIT_FILE",
    "Catalogue",
    "HeadBox",
    "ImageRecord",
    "LeftOut",
    "Split",
    "SplitSummary",
    "UnreadableImage",
    "decode_image",
    "load_split",
    "make_split",
    "open_catalogue",
    "save_split",
    "split_summary",
]
