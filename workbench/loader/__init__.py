"""Images to tensors: the decoded store, samples, augmented views, batches."""

from workbench.loader.batches import Ahead, Batch, FeatureBatches, ImageBatches, plain_batches, prepared
from workbench.loader.pool_batches import PoolBatch, PoolBatches, paired
from workbench.loader.samples import Samples, head_boxes
from workbench.loader.store import ImageStore, open_store, stored_side
from workbench.loader.views import HeadMasks, ViewFormat

__all__ = [
    "Ahead",
    "Batch",
    "FeatureBatches",
    "HeadMasks",
    "ImageBatches",
    "ImageStore",
    "PoolBatch",
    "PoolBatches",
    "Samples",
    "ViewFormat",
    "head_boxes",
    "open_store",
    "paired",
    "plain_batches",
    "prepared",
    "stored_side",
]
