"""Which pictures, which holes, and how a method's fills become numbers.

The photos are taken in the order of their names, their centre is cropped, and each gets one mask that depends
on the seed and the photo's name only: neither the other photos nor their order can change it. A method is
given the crop with its hole painted over; its fill is put back among the photo's own known pixels, and that
composite, uint8, is scored. Scores are means of per-image scores.
"""

import hashlib
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm

from inpaint.datasets import PhotoSet
from inpaint.evaluation.differences import differences
from inpaint.evaluation.results import hole_ratio_bin, means
from inpaint.images import MAX_SQUARE, ImageError
from inpaint.masks import HOLE_GREY, MaskFolder, generator_for, parse_recipe
from inpaint.metrics import patch_distance, score

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Fills a hole: (uint8 H×W×3 RGB, bool H×W, True = hole) -> uint8 H×W×3. The hole's pixels hold HOLE_GREY."""

"""What methods see in the hole, in all channels. The truth there never reaches them."""

DEFINITIONS = {
    "psnr": "dB, RGB uint8, whole image, MSE floored at 0.001",
    "ssim": "Gaussian window, sigma 1.5, population covariance, mean of the RGB channels (scikit-image)",
    "l1": "mean absolute error, % of 255, whole image",
    "psnr_hole": "dB, RGB uint8, hole pixels, MSE floored at 0.001",
    "l1_hole": "mean absolute error, % of 255, hole pixels",
    "detail": "mean |Laplacian of luma| over the truth's, hole pixels with all four neighbours in the hole; "
    "1 is right",
    "patch_distance": "grey levels; sliced Wasserstein-1 distance of 7x7 RGB patches less their mean colour, "
    "in the hole against those around it, 32 projections; lower is nearer to the surroundings",
    "feature_distance": "squared difference of unit-length features, mean over the hole, sum over the stages "
    "of the network named in features; lower is better; not LPIPS",
    "lpips": "AlexNet, version 0.1",
    "seconds": "mean wall time of the method alone, after one untimed call",
    "average": "mean of per-image scores; a metric that an image does not have is left out of its mean",
    "differences": "method less over, mean over images; interval: 95 %, paired percentile bootstrap over "
    "images, 2000 resamples, seed 0",
    "composite": "known pixels are the photo's before scoring",
    "hole_given_as": f"grey {HOLE_GREY}",
    "bins": "lower < hole ratio <= upper",
}


class MethodError(RuntimeError):
    """A method failed, or gave back something that cannot be scored; the message names method and image."""


@dataclass(frozen=True)
class Case:
    """One picture to fill.

    Attributes:
        name: the photo's name in its set.
        image: the whole truth, uint8 H×W×3 RGB.
        mask: bool H×W, True = hole.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray

    @property
    def hole_ratio(self) -> float:
        """Share of the pixels that is hole, 0 to 1."""
        return int(np.count_nonzero(self.mask)) / self.mask.size

    def destroyed(self) -> np.ndarray:
        """Copy the image with the hole painted over: all that a method may see of it."""
        image = self.image.copy()
        image[self.mask] = HOLE_GREY
        return image


class ReadyFills(Protocol):
    """A method whose fills exist already, such as a folder of another program's results."""

    def read(self, name: str) -> np.ndarray:
        """Return the fill of the photo of that name, uint8 H×W×3."""
        ...


class EvaluationSet:
    """The fixed list of pictures and holes of one evaluation; iterating reads them as `Case`s.

    `masks` is a recipe ("free-form:0.1-0.5", "folder:PATH" for masks drawn from a folder), or a folder of
    masks that pair with the photos by file stem. Such a mask has the crop's size, or the photo's, and is then
    cropped as the photo is.

    `size` is the crop's side in pixels (see `centre_crop`); `limit` keeps that many photos, spread evenly
    over the sorted names. Photos that cannot be read, or whose mask cannot or has another size, are left out
    and named with their reason in `skipped`, as are damaged shards; small ones are named in `enlarged`.

    Raises ValueError for settings that cannot work and for a mask folder that lacks some photos' masks, or
    has several for one.
    """

    def __init__(
        self, photos: PhotoSet, masks: str, seed: int = 0, size: int = 256, limit: int | None = None
    ) -> None:
        if not 1 <= size <= MAX_SQUARE:
            raise ValueError(f"size: expected a crop of 1 to {MAX_SQUARE} pixels a side, got {size}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit: expected at least 1 photo, got {limit}")
        if len(photos) == 0:
            raise ValueError("images: there is no photo to evaluate on")
        self.seed, self.size, self.limit = seed, size, limit
        self._photos = photos
        order = sorted(range(len(photos)), key=lambda index: photos.names[index])
        if limit is not None and limit < len(order):
            order = [order[round(i)] for i in np.linspace(0, len(order) - 1, limit)]
        self._order = order
        self._begin()
        self._folder: MaskFolder | None = None
        if _is_folder(masks):
            self._folder = MaskFolder(masks)
            self._check_pairs(self._folder)
        else:
            try:
                self._recipe = parse_recipe(masks)
            except ValueError as error:
                raise ValueError(f"masks: {masks!r} is neither a folder nor a recipe: {error}") from error

    @property
    def names(self) -> list[str]:
        """Names of the photos in order, those that will turn out unreadable included."""
        return [self._photos.names[index] for index in self._order]

    @property
    def broken_masks(self) -> dict[str, str]:
        """Masks that were passed over so far, unreadable ones and what is no regular file: name -> reason."""
        return self._recipe.broken if self._folder is None else self._folder.broken

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Case]:
        self._begin()
        for index in self._order:
            name = self._photos.names[index]
            try:
                photo, mask = self._read(index)
            except ImageError as error:
                self.skipped[name] = error.reason
                continue
            if min(photo.shape[:2]) < self.size:
                self.enlarged.append(name)
            yield Case(name, centre_crop(photo, self.size), mask)

    def readable(self, names: Container[str]) -> Iterator[str]:
        """Yield those of these photos, in order, that are not left out; each is read when it is asked for."""
        for index in self._order:
            if (name := self._photos.names[index]) in names:
                try:
                    self._read(index)
                except ImageError:
                    continue
                yield name

    def describe(self) -> dict[str, Any]:
        """Everything that says which pictures and holes these are, for results.json; call after iterating."""
        return {
            "masks": str(self._recipe) if self._folder is None else f"{self._folder.path.name}, by file stem",
            "seed": self.seed,
            "size": self.size,
            "limit": self.limit,
            "crop": "centre, not resized; where a side is shorter, the centre square enlarged (bicubic)",
            "enlarged": self.enlarged,
            "skipped": self.skipped,
            "broken_masks": self.broken_masks,
        }

    def _begin(self) -> None:
        """Forget what earlier reading found; shards that could not be opened stay named."""
        photos = set(self._photos.names)
        self.skipped = {name: why for name, why in self._photos.broken.items() if name not in photos}
        self.enlarged: list[str] = []

    def _check_pairs(self, folder: MaskFolder) -> None:
        found = {name: folder.files_of(PurePosixPath(name).stem) for name in self.names}
        missing = [name for name, files in found.items() if not files]
        if missing:
            raise ValueError(
                f"masks: {len(missing)} of {len(self)} photos have no mask of their stem in {folder.path} "
                f"(such as {missing[0]}); add them, or draw from it with folder:{folder.path}"
            )
        doubtful = [name for name, files in found.items() if len(files) > 1]
        if doubtful:
            raise ValueError(
                f"masks: {len(doubtful)} of {len(self)} photos have more than one mask of their stem in "
                f"{folder.path} (such as {doubtful[0]}: {', '.join(found[doubtful[0]])}); keep one of each"
            )

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """A photo, whole, and the mask of its crop."""
        photo = self._photos.read(index)
        return photo, self._mask(self._photos.names[index], photo.shape[:2])

    def _mask(self, name: str, photo_shape: tuple[int, ...]) -> np.ndarray:
        if self._folder is None:
            return self._recipe(generator_for(self.seed, name), self.size, self.size)
        mask = self._folder.by_stem(PurePosixPath(name).stem)
        if mask.shape == (self.size, self.size):
            return mask
        if mask.shape == photo_shape:
            return centre_crop(mask, self.size)
        raise ImageError(
            f"expected a mask of the crop's size {(self.size, self.size)} or the photo's {photo_shape}, "
            f"got {mask.shape} (height, width)",
            name,
        )


def _is_folder(masks: str) -> bool:
    try:
        return Path(masks).is_dir()
    except OSError:  # a recipe may be longer than any name
        return False


def iter_cases(
    photos: PhotoSet, masks: str, seed: int = 0, size: int = 256, limit: int | None = None
) -> Iterator[Case]:
    """Yield the cases of an evaluation one by one; see `EvaluationSet`, which also names broken photos."""
    return iter(EvaluationSet(photos, masks, seed, size, limit))


def centre_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Cut the size×size centre out of a uint8 H×W×3 picture or a bool H×W mask; the result is contiguous.

    Nothing is resized, unless a side is shorter than `size`: then the centre square is enlarged to it, of
    pictures with a bicubic filter and of masks by nearest neighbour.
    """
    height, width = image.shape[:2]
    side = min(height, width, size)
    top, left = (height - side) // 2, (width - side) // 2
    crop = np.ascontiguousarray(image[top : top + side, left : left + side])
    if side < size:
        resample = Image.Resampling.NEAREST if crop.dtype == np.bool_ else Image.Resampling.BICUBIC
        crop = np.array(Image.fromarray(crop).resize((size, size), resample), dtype=crop.dtype)
    return crop


@dataclass
class SheetRow:
    """One line of a picture sheet: a case, and each method's composite with its scores."""

    case: Case
    fills: dict[str, np.ndarray]
    scores: dict[str, dict[str, float | None]]


@dataclass
class Evaluation:
    """What `evaluate` measured.

    Attributes:
        records: one per image: its name, hole ratio, and each method's scores by the names of METRICS.
        sha256: hash of the images' names and masks; two runs with equal hashes filled the same holes.
        rows: sample of the pictures for a sheet, spread over the hole ratios, in rising order of ratio.
        truth_patch_distance: mean patch distance of the photos themselves, what a perfect fill would score;
            None where no image has one.
    """

    records: list[tuple[str, float, dict[str, dict[str, float | None]]]]
    sha256: str
    rows: list[SheetRow] = field(default_factory=list)
    truth_patch_distance: float | None = None

    def differences(self) -> list[dict[str, Any]]:
        """Return the "differences" part of results.json, see `inpaint.evaluation.differences`."""
        return differences([scores for _, _, scores in self.records])

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return the "methods" part of results.json: means over all images and per bin of hole ratio."""
        methods: Sequence[str] = list(self.records[0][2]) if self.records else []
        summary = {}
        for method in methods:
            bins: dict[str, list[Mapping[str, float | None]]] = {}
            for _, ratio, scores in self.records:
                if (bin_name := hole_ratio_bin(ratio)) is not None:
                    bins.setdefault(bin_name, []).append(scores[method])
            summary[method] = {
                **means([scores[method] for _, _, scores in self.records]),
                "by_hole_ratio": {name: means(bins[name]) for name in sorted(bins)},
            }
        return summary


def evaluate(
    methods: Mapping[str, Method | ReadyFills],
    cases: Iterable[Case],
    *,
    lpips: Callable[[np.ndarray, np.ndarray], float | None] | None = None,
    feature_distance: Callable[[np.ndarray, np.ndarray, np.ndarray], float | None] | None = None,
    sheet_rows: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Let every method fill every case, and score the composites.

    Methods run image by image, each on its own copy of the destroyed image and the mask. `lpips` is a metric
    such as `LpipsAlex` and `feature_distance` one such as `FeatureDistance`, or None to leave it out.
    `sheet_rows` pictures are kept for a sheet. `progress` shows a bar on stderr.

    Raises ValueError where there is no case or no method, MethodError where a method fails.
    """
    if not methods:
        raise ValueError("methods: there is no method to evaluate")
    digest = hashlib.sha256()
    records = []
    of_truth: list[float] = []
    sample = _SheetSample(sheet_rows)
    warm: set[str] = set()
    for case in tqdm(cases, desc="evaluating", unit="photo", disable=not progress):
        digest.update(f"{case.name}\0{case.mask.shape}\0".encode("utf-8", "surrogateescape"))
        digest.update(np.packbits(case.mask).tobytes())
        fills, scores = {}, {}
        for name, method in methods.items():
            if name not in warm and callable(method):
                # First calls load, build and tune; they would distort the mean of a short run.
                _fill(name, method, case)
                warm.add(name)
            fills[name], scores[name] = score_method(
                name, method, case, lpips=lpips, feature_distance=feature_distance
            )
        records.append((case.name, case.hole_ratio, scores))
        if (distance := patch_distance(case.image, case.mask)) is not None:
            of_truth.append(distance)
        sample.offer(SheetRow(case, fills, scores))
    if not records:
        skipped = cases.skipped if isinstance(cases, EvaluationSet) else {}
        first = next((f" (the first: {name}: {reason})" for name, reason in skipped.items()), "")
        raise ValueError(f"cases: none of the photos could be read{first}")
    mean = float(np.mean(of_truth)) if of_truth else None
    return Evaluation(records, digest.hexdigest(), sample.chosen(), mean)


def score_method(
    name: str,
    method: Method | ReadyFills,
    case: Case,
    *,
    lpips: Callable[[np.ndarray, np.ndarray], float | None] | None = None,
    feature_distance: Callable[[np.ndarray, np.ndarray, np.ndarray], float | None] | None = None,
) -> tuple[np.ndarray, dict[str, float | None]]:
    """Let one method fill one case, put the known pixels back, and score the result.

    Args:
        name: the method's name, for messages.
        method: is given a copy of the destroyed image and of the mask.
        case: what is filled.
        lpips: a metric such as `LpipsAlex`, or None to leave it out.
        feature_distance: a metric such as `FeatureDistance`, or None to leave it out.

    Returns:
        The composite, uint8 H×W×3, and its scores by the names of METRICS.

    Raises:
        MethodError: the method fails, or returns something that cannot be scored.
    """
    fill, seconds = _fill(name, method, case)
    composite = np.where(case.mask[..., None], fill, case.image)
    scores = {
        **score(case.image, composite, case.mask),
        "feature_distance": (
            feature_distance(case.image, composite, case.mask) if feature_distance is not None else None
        ),
        "lpips": lpips(case.image, composite) if lpips is not None else None,
        "seconds": seconds,
    }
    return composite, scores


def _fill(name: str, method: Method | ReadyFills, case: Case) -> tuple[np.ndarray, float | None]:
    """Run one method on one case; the seconds are None for fills that were ready."""
    image, mask = case.destroyed(), case.mask.copy()
    started = time.perf_counter()
    try:
        fill = method(image, mask) if callable(method) else method.read(case.name)
    except Exception as error:
        raise MethodError(f"{name} failed on {case.name}: {error}") from error
    seconds = time.perf_counter() - started if callable(method) else None
    if fill.dtype != np.uint8 or fill.shape != case.image.shape:
        raise MethodError(
            f"{name} on {case.name}: expected a uint8 picture of shape {case.image.shape}, "
            f"got {fill.dtype} of shape {fill.shape}"
        )
    return fill, seconds


class _SheetSample:
    """Keeps a few rows of a long stream, spread over the bins of hole ratio.

    Each bin keeps the rows whose names hash lowest: a fixed sample in bounded memory that does not favour the
    names that come first.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._bins: dict[str | None, list[SheetRow]] = {}

    def offer(self, row: SheetRow) -> None:
        kept = self._bins.setdefault(hole_ratio_bin(row.case.hole_ratio), [])
        kept.append(row)
        kept.sort(key=lambda row: hashlib.sha256(row.case.name.encode("utf-8", "surrogateescape")).digest())
        del kept[self._rows :]

    def chosen(self) -> list[SheetRow]:
        """Take from the bins in turn until there are enough rows."""
        longest = max((len(kept) for kept in self._bins.values()), default=0)
        turns = [kept[turn] for turn in range(longest) for kept in self._bins.values() if turn < len(kept)]
        return sorted(turns[: self._rows], key=lambda row: row.case.hole_ratio)
