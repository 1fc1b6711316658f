"""Photo + mask -> photo, at any size: the network's fill, and over it the photo's own texture (`detail`).

A network sees a window of at most `plan.WORKING_SIZE` pixels a side, so the work is done near the holes.
Every hole is given the largest scale, 1 at most, at which it can be filled:

- a hole whose surroundings fit in a window is filled in one piece at the photo's own resolution;
- so is a longer one that is thin, a scratch or a brush stroke, in overlapping windows along it;
- a hole both large and thick is filled in a shrunk copy, and the fill is brought up.

Every window reads the original photo, takes all hole pixels in it as unknown, and fills only those of its own
hole. The result therefore depends neither on the order of holes nor on what the holes contained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
import torch

from inpaint.devices import choose_device, prefers_bfloat16
from inpaint.inference.detail import add_detail
from inpaint.inference.plan import SURROUNDINGS, Box, Job, bounding_box, pieces, plan
from inpaint.inference.scales import bring_up, shrink, to_uint8
from inpaint.networks import Network
from inpaint.weights import find_model, load_weights

Detail = Literal["photo", "none"]
DETAILS = get_args(Detail)

PRECISIONS = ("auto", "float32", "bfloat16")
"""What an `Inpainter` takes for the precision of a network's convolutions."""


class Inpainter:
    """Fill the holes of photos with a network.

    `fill = Inpainter.from_pretrained("pconv-carafe"); result = fill(image, mask)`. Calls keep no state, so
    one Inpainter may serve several threads.

    Args:
        network: is moved to the device and put in evaluation mode.
        device: "auto" (a CUDA GPU where there is one, else the CPU), "cpu", "cuda" or "cuda:1".
        detail: "photo" lays the photo's own texture over the network's fill (`inpaint.inference.detail`);
            "none" is the network's fill alone.
        precision: of the convolutions. "auto" (bfloat16 on CPUs where it is the faster one, else float32),
            "float32" or "bfloat16". A fill differs by a grey level or two in a few pixels; the smooth fill
            that a network begins from, and the composite, are float32 always.

    Raises:
        ValueError: a device, a detail or a precision has another name.
    """

    def __init__(
        self,
        network: Network,
        device: str | torch.device = "auto",
        detail: Detail = "none",
        precision: str = "auto",
    ) -> None:
        if detail not in DETAILS:
            raise ValueError(f"detail must be one of {', '.join(DETAILS)}, not {detail!r}")
        self.device = choose_device(device)
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision}: expected one of {', '.join(PRECISIONS)}")
        if precision == "auto":
            precision = "bfloat16" if prefers_bfloat16(self.device) else "float32"
        self.precision = precision
        self.network = network.to(self.device).eval()
        self.detail = detail

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        device: str | torch.device = "auto",
        detail: Detail = "photo",
        precision: str = "auto",
    ) -> Inpainter:
        """Load a model.

        Args:
            name: installed name, folder, weights file or hub id, see `inpaint.weights.find_model`.
            device: as of the class.
            detail: as of the class; "photo" if not given.
            precision: as of the class.

        Raises:
            WeightsError: there is no such model, or its file cannot be used.
            ValueError: as of the class.
        """
        device = choose_device(device)
        network, _ = load_weights(find_model(name))
        return cls(network, device, detail, precision)

    def __call__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        *,
        seed: int = 0,
        grow: int = 0,
        progress: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """Return the photo with its holes filled; every other pixel is bit-identical.

        Args:
            image: uint8 H×W×3 RGB, any size and strides, left as it is.
            mask: bool H×W, True = fill.
            seed: with `detail="photo"`, other seeds give other fills; equal seeds give equal bits.
            grow: fill this many pixels around the mask, too. A mask that is tight to an object with soft
                edges leaves its rim, which the fill then takes up.
            progress: called with the fraction done, rising from 0 to 1.

        Returns:
            uint8 H×W×3. An empty mask gives a copy of the photo. Where no pixel is known, the result is
            mid-grey.

        Raises:
            TypeError: an array is of another type.
            ValueError: an array has another shape, or seed or grow is negative.
        """
        return next(self.candidates(image, mask, 1, seed=seed, grow=grow, progress=progress))

    def candidates(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        count: int,
        *,
        seed: int = 0,
        grow: int = 0,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """Yield `count` fills, of the seeds `seed`, `seed` + 1 and so on; the network runs once.

        Args:
            image: as of a call.
            mask: as of a call.
            count: number of fills; `detail="none"` has only one.
            seed: of the first fill.
            grow: as of a call.
            progress: as of a call, over all fills.

        Raises:
            TypeError: as of a call.
            ValueError: as of a call, or more than one fill is asked of `detail="none"`.
        """
        _check_inputs(image, mask)
        if count < 1 or seed < 0 or grow < 0:
            raise ValueError(
                f"count must be 1 or more, seed and grow 0 or more; they are {count}, {seed} and {grow}"
            )
        if count > 1 and self.detail == "none":
            raise ValueError('detail="none" has one fill of a hole; ask for one, or for detail="photo"')
        # NumPy takes any byte but 0 for True, and OpenCV counts them: from here on True is 1.
        holes = grown(mask.view(np.uint8) != 0, grow)
        return self._candidates(image, holes, range(seed, seed + count), progress or (lambda fraction: None))

    def _candidates(
        self, image: np.ndarray, mask: np.ndarray, seeds: range, report: Callable[[float], None]
    ) -> Iterator[np.ndarray]:
        """Yield the fill of each seed."""
        share = 1.0 if self.detail == "none" else 1 / (1 + len(seeds))
        guide = self._fill(image, mask, lambda fraction: report(share * fraction))
        if self.detail == "none":
            yield guide
            return
        for number, seed in enumerate(seeds, 1):

            def advance(fraction: float, number: int = number) -> None:
                report((number + fraction) * share)

            yield add_detail(image, guide, mask, seed, progress=advance)

    def _fill(self, image: np.ndarray, mask: np.ndarray, report: Callable[[float], None]) -> np.ndarray:
        """Return the photo with its holes filled by the network."""
        report(0.0)
        result = np.array(image, order="C")
        mask = np.ascontiguousarray(mask)
        jobs, groups = plan(mask)
        for done, job in enumerate(jobs):

            def advance(fraction: float, done: int = done) -> None:
                report((done + fraction) / len(jobs))

            own = groups[job.box.slices] == job.group
            fill = self._fill_native if job.scale == 1 else self._fill_shrunk
            result[job.box.slices][own] = fill(image, mask, own, job, advance)
        report(1.0)
        return result

    def _fill_native(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        own: np.ndarray,
        job: Job,
        advance: Callable[[float], None],
    ) -> np.ndarray:
        """Fill at the photo's resolution; return uint8 values for the pixels of `own`."""
        return to_uint8(self._fill_windows(image, mask, own, job.box, advance)[own])

    def _fill_shrunk(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        own: np.ndarray,
        job: Job,
        advance: Callable[[float], None],
    ) -> np.ndarray:
        """Fill at `job.scale` and bring the fill up; return uint8 values for the pixels of `own`."""
        region, small, small_mask, wanted = shrunk_hole(image, mask, job)
        if wanted.any():
            box = bounding_box(wanted)
            wanted = wanted[box.slices]
            small[box.slices][wanted] = self._fill_windows(small, small_mask, wanted, box, advance)[wanted]
        return bring_up(small, image, mask, own, job.box, region)

    def _fill_windows(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        own: np.ndarray,
        box: Box,
        advance: Callable[[float], None],
    ) -> np.ndarray:
        """Fill the pixels `own` of `box`, at the resolution of `image`, in as many windows as it takes.

        Returns float32 values in [0, 255], shaped as the box; pixels outside `own` are 0.
        """
        height, width = mask.shape
        filled = np.zeros((*own.shape, 3), np.float32)
        parts = pieces(own, box, height, width, self.network.stride)
        for done, part in enumerate(parts, 1):
            at = part.target.moved(-box.top, -box.left).slices
            hole = own[at]
            prediction = self._predict(image[part.window.slices], mask[part.window.slices])
            seen = prediction[part.target.moved(-part.window.top, -part.window.left).slices][hole]
            rows, columns = part.place
            within = part.target.moved(-box.top - rows.start, -box.left - columns.start)
            filled[at][hole] += part.weights[within.slices][hole][:, None] * seen
            advance(done / len(parts))
        return filled

    def _predict(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return what the network makes of one window: float32 H×W×3 in [0, 255]."""
        if mask.all():
            return np.full((*mask.shape, 3), 128, np.float32)
        height, width = mask.shape
        pixels, holes = self.network.to_input(image, mask, self.device)
        lower = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        # Not inference_mode, in which autocast converts a weight again for every octave that it is used at.
        with torch.no_grad(), lower:
            prediction = self.network(pixels, holes)[:, :, :height, :width]
        if not bool(torch.isfinite(prediction).all()):
            raise RuntimeError("the network returned NaN or infinity; its weights are damaged, load others")
        return self.network.to_levels(prediction)[0]


def shrunk_hole(
    image: np.ndarray, mask: np.ndarray, job: Job
) -> tuple[Box, np.ndarray, np.ndarray, np.ndarray]:
    """Return the copy of a photo that a job's hole is filled in where that is too large for a window.

    Returns:
        The part of the photo that was shrunk; the copy, float32 h×w×3, and its hole, bool h×w, as of
        `shrink`; and the pixels of the copy that are to be filled, bool h×w.
    """
    region = job.box.grown(round(SURROUNDINGS / job.scale), *mask.shape)
    small, hole = shrink(image[region.slices], mask[region.slices], job.scale)
    # The network's own view of the hole's edge, too: where it differs from the photo shows by how much the
    # fill is off. Three pixels are what cubic interpolation reaches.
    wanted = cv2.dilate(hole.view(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return region, small, hole, wanted


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Return a mask, bool H×W, that also holds what lies within so many pixels (Euclidean) of it.

    >>> grown(np.array([[False, False, False, True]]), 2).tolist()
    [[False, True, True, True]]
    """
    if pixels == 0 or not mask.any():
        return mask
    box = bounding_box(mask).grown(pixels, *mask.shape)
    away = (~mask[box.slices]).astype(np.uint8)
    result = mask.copy()
    result[box.slices] |= cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= pixels
    return result


def _check_inputs(image: np.ndarray, mask: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise TypeError(
            f"image must be a NumPy array of uint8, not {_kind(image)}; "
            "np.asarray(picture.convert('RGB')) makes one of a Pillow image"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"image must be H×W×3 RGB, not {image.shape}; np.stack([grey] * 3, -1) makes it of grey"
        )
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(
            f"mask must be a NumPy array of bool, True = fill, not {_kind(mask)}; mask > 127 makes one"
        )
    if mask.shape != image.shape[:2]:
        raise ValueError(f"mask must be H×W = {image.shape[:2]} as the image is, not {mask.shape}")


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__
