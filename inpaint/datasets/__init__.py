"""Photos and masks to training batches.

`open_photos` finds photos in folders, tars and behind URLs; `PhotoCache` keeps decoded ones;
`TrainingBatches` cuts them into batches, each a pure function of ``(seed, step)``.
"""

from .batches import Batch, TrainingBatches
from .photos import DEFAULT_CACHE_BYTES, PhotoCache, PhotoSet, open_photos, open_photos_in_turn

__all__ = [
    "DEFAULT_CACHE_BYTES",
    "Batch",
    "PhotoCache",
    "PhotoSet",
    "TrainingBatches",
    "open_photos",
    "open_photos_in_turn",
]
