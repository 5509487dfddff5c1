"""Which images exist: the Oxford set, any folder, the drawn sample; labels, head boxes, splits, checks."""

from workbench.dataset.catalogue import Catalogue, HeadBox, ImageRecord, LeftOut
from workbench.dataset.corrections import Corrected, apply_corrections
from workbench.dataset.probe import UnreadableImage, decode_image
from workbench.dataset.review import Correction, Review, Verdict, load_review
from workbench.dataset.run_data import open_catalogue
from workbench.dataset.split import Split, SplitSummary, make_split, split_summary
from workbench.dataset.split_file import SPLIT_FILE, load_split, save_split

__all__ = [
    "SPLIT_FILE",
    "Catalogue",
    "Corrected",
    "Correction",
    "HeadBox",
    "ImageRecord",
    "LeftOut",
    "Review",
    "Split",
    "SplitSummary",
    "UnreadableImage",
    "Verdict",
    "apply_corrections",
    "decode_image",
    "load_review",
    "load_split",
    "make_split",
    "open_catalogue",
    "save_split",
    "split_summary",
]
