"""Images to tensors: the decoded store, samples, augmented views, batches."""

from workbench.loader.batches import Batch, FeatureBatches, ImageBatches, plain_batches
from workbench.loader.samples import Samples
from workbench.loader.store import ImageStore, open_store, stored_side

__all__ = [
    "Batch",
    "FeatureBatches",
    "ImageBatches",
    "ImageStore",
    "Samples",
    "open_store",
    "plain_batches",
    "stored_side",
]
