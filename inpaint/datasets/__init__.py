"""Photos and masks to training batches.

`open_photos` finds photos in folders, tars and behind URLs; `PhotoCache` keeps decoded ones;
`TrainingBatches` cuts them into batches, each a pure function of `(seed, step)`.
"""

from .batches import Batch, TrainingBatches
from .cache import DEFAULT_CACHE_BYTES, PhotoCache
from .opening import open_photos
from .photos import PhotoSet

__all__ = [
    "DEFAULT_CACHE_BYTES",
    "Batch",
    "PhotoCache",
    "PhotoSet",
    "TrainingBatches",
    "open_photos",
]
