"""Photos and masks to training batches, each batch a pure function of `(seed, step)`.

Nothing here keeps a position: a run that resumes at step 1000 sees exactly the batches that an
uninterrupted one would, whatever the number of threads, the size of the cache, or the processes that share
the work.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from inpaint.images import ImageError
from inpaint.masks import MaskRecipe, generator_for, parse_recipe

from .cache import PhotoCache
from .photos import PhotoSet


class Batch(NamedTuple):
    """What one training step sees.

    Attributes:
        image: float32 `[N, 3, H, W]` in [0, 1], RGB, whole (the hole is not blanked), channels_last.
        mask: float32 `[N, 1, H, W]`, 1 = hole.
    """

    image: Tensor
    mask: Tensor


class TrainingBatches:
    """Random crops of photos with random holes; batch `step` is a pure function of `(seed, step)`.

    Photos come in an order that is shuffled anew each epoch, and each comes once an epoch. Of a photo, a
    square is cut at a random place and scale, brought to `size`, and mirrored half of the time. A photo
    whose shorter side is below `size` is enlarged. An unreadable photo is replaced by the next readable
    one of the set, those of a lost shard by those of the next one.

    With several processes, each makes its own `batch_size / world_size` samples; put together in the order
    of the ranks they are the batch that a single process would make.

    To change the size or the batch size during training, make another `TrainingBatches` with the same
    `cache`. The place in the epoch follows from `step * batch_size`.

    Args:
        photos: the photos.
        recipe: where holes come from, a `MaskRecipe` or its text.
        size: height and width of the crops, pixels.
        batch_size: samples in a whole batch, over all processes.
        seed: of everything random here.
        rank: which process this is, from 0.
        world_size: how many processes share each batch.
        crop_scale: how far crops zoom in: 0 shows the whole shorter side of the photo, 1 shows it at the
            photo's own resolution. Drawn uniformly from this range and limited to [0, 1]; the default leaves
            a fifth of the crops at the photo's own resolution, pixel for pixel, for the sake of fine detail.
        cache: decoded photos to share with other `TrainingBatches` of the same photos; its own by default.

    Raises:
        ValueError: a setting that makes no sense; the message says which.
    """

    def __init__(
        self,
        photos: PhotoSet,
        recipe: MaskRecipe | str,
        size: int,
        batch_size: int,
        seed: int = 0,
        *,
        rank: int = 0,
        world_size: int = 1,
        crop_scale: tuple[float, float] = (0.0, 1.25),
        cache: PhotoCache | None = None,
    ) -> None:
        if size < 1 or batch_size < 1:
            raise ValueError(f"size {size} and batch_size {batch_size} must be at least 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size} processes: ranks run from 0 to {world_size - 1}")
        if batch_size % world_size:
            raise ValueError(f"batch_size {batch_size} cannot be shared evenly by {world_size} processes")
        if crop_scale[0] > crop_scale[1]:
            raise ValueError(f"crop_scale {crop_scale}: give the lower bound first")
        if cache is not None and cache.photos is not photos:
            raise ValueError("the cache holds other photos; make a PhotoCache of these")
        self.photos = photos
        self.recipe = parse_recipe(recipe) if isinstance(recipe, str) else recipe
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.crop_scale = crop_scale
        self.cache = PhotoCache(photos) if cache is None else cache
        share = batch_size // world_size
        self._samples = range(rank * share, (rank + 1) * share)
        self._orders: dict[int, np.ndarray] = {}
        self._unreadable: set[int] = set()

    @property
    def broken(self) -> dict[str, str]:
        """The photos, shards and ready masks found unreadable so far: name -> reason."""
        return {**self.photos.broken, **self.recipe.broken}

    def batch(self, step: int) -> Batch:
        """Return the samples of this process for `step` (from 0).

        Raises:
            ImageError: not one photo of the set can be read.
        """
        size, number = self.size, len(self._samples)
        pixels = np.empty((number, size, size, 3), np.uint8)
        holes = np.empty((number, 1, size, size), np.float32)
        for slot, sample in enumerate(self._samples):
            photo = self._read(self._photo_for(step * self.batch_size + sample))
            pixels[slot] = self._crop(photo, generator_for(self.seed, step, sample, "crop"))
            holes[slot, 0] = self.recipe(generator_for(self.seed, step, sample, "mask"), size, size)
        # NumPy converts, not torch: torch would start a thread pool in each thread of `stream`.
        image = np.divide(pixels, np.float32(255), dtype=np.float32)
        return Batch(torch.from_numpy(image).permute(0, 3, 1, 2), torch.from_numpy(holes))

    def stream(
        self, start_step: int, stop_step: int | None = None, *, threads: int = 1, ahead: int = 4
    ) -> Generator[Batch, None, None]:
        """Yield `batch(step)` for each step in order, made ahead of time by a few threads.

        Args:
            start_step: the first step.
            stop_step: one past the last; None goes on for ever.
            threads: how many make batches. Decoding, cropping and drawing all leave the interpreter free.
            ahead: how many batches may wait, finished or in the making.

        The threads end when the iterator is exhausted, closed or dropped.
        """
        if threads < 1 or ahead < 1:
            raise ValueError(f"threads {threads} and ahead {ahead} must be at least 1")
        return self._stream(start_step, stop_step, threads, ahead)

    def _stream(
        self, start_step: int, stop_step: int | None, threads: int, ahead: int
    ) -> Generator[Batch, None, None]:
        steps = itertools.count(start_step) if stop_step is None else iter(range(start_step, stop_step))
        pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
        try:
            waiting = deque(pool.submit(self.batch, step) for step in itertools.islice(steps, ahead))
            while waiting:
                batch = waiting.popleft().result()
                waiting.extend(pool.submit(self.batch, step) for step in itertools.islice(steps, 1))
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _photo_for(self, position: int) -> int:
        """Return the photo at a position of the endless sequence of shuffled epochs."""
        epoch, place = divmod(position, len(self.photos))
        order = self._orders.get(epoch)
        if order is None:
            numbers = np.arange(len(self.photos), dtype=np.int32)  # half the memory of NumPy's own choice
            order = generator_for(self.seed, "epoch", epoch).permutation(numbers)
            # Threads work within a few batches of each other; more than a few epochs are needed at once only
            # where an epoch is shorter than a batch, and then it is quickly shuffled again.
            if len(self._orders) >= 4:
                self._orders = {}
            self._orders[epoch] = order
        return int(order[place])

    def _read(self, index: int) -> np.ndarray:
        """Photo `index`, or the next readable one in the order of the set, whatever was read before."""
        candidate = index
        # Up to one round to reach the first photo of the set, and one more past all of them.
        for _ in range(2 * len(self.photos)):
            if candidate not in self._unreadable:
                try:
                    return self.cache.read(candidate)
                except ImageError:
                    self._unreadable.add(candidate)
            candidate = self.photos.after(candidate)
        name, reason = next(iter(self.photos.broken.items()))
        raise ImageError(f"none of the {len(self.photos)} photos can be read (the first: {name}: {reason})")

    def _crop(self, photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a random square of the photo as uint8 `size×size×3`."""
        height, width = photo.shape[:2]
        short = min(height, width)
        zoom = min(max(rng.uniform(*self.crop_scale), 0.0), 1.0)
        across, down = rng.random(2)
        mirrored = rng.random() < 0.5
        if short > self.size:
            resized = self.size + zoom * (short - self.size)  # what the shorter side would be resized to
            side = round(self.size * short / resized)
        else:
            side = short
        top, left = int(down * (height - side + 1)), int(across * (width - side + 1))
        square = photo[top : top + side, left : left + side]
        if side != self.size:
            method = cv2.INTER_AREA if side > self.size else cv2.INTER_CUBIC
            square = cv2.resize(square, (self.size, self.size), interpolation=method)
        return square[:, ::-1] if mirrored else square
