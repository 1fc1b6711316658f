"""Which photo goes with which mask, and where its results are written."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from inpaint.cli.arguments import UsageError
from inpaint.cli.console import say
from inpaint.cli.listing import Listing, enumeration, list_images
from inpaint.cli.matching import USUAL_SUFFIXES, MaskMatcher, is_named_as_mask
from inpaint.cli.outputs import Existing, check_outputs, numbered
from inpaint.images import SUFFIXES


@dataclass(frozen=True)
class Task:
    """One photo to fill.

    Attributes:
        photo: where it is read.
        masks: every mask of its name: exactly one, or it is an error.
        outputs: where its fills are written, one for each seed, in one folder and of one suffix; None for
            those that are there already and stay.
        mask_suffix: what its mask's name has after the photo's.
        hint: what to say besides where there is no mask.
    """

    photo: Path
    masks: list[Path]
    outputs: list[Path | None]
    mask_suffix: str = ""
    hint: str = ""


def pair_files(
    image: Path,
    mask: Path,
    output: Path,
    count: int,
    mask_suffix: str = "",
    existing: Existing = "refuse",
) -> list[Task]:
    """Find the photos, the masks of each, and where each result goes.

    Args:
        image: photo, or folder of photos, subfolders included.
        mask: mask, or folder of masks, which pair with the photos by their paths without extension.
        output: file or folder; is made where it does not exist.
        count: number of results of each photo.
        mask_suffix: what the masks' names have after the photos'; they may then lie beside the photos.
        existing: what is done where a result exists.

    Raises:
        UsageError: the paths make no sense together, or nothing can be written to `output`.
        OSError: a folder cannot be listed, or a name is too long.
    """
    for option, path in (("--image", image), ("--mask", mask)):
        if not path.exists():
            raise UsageError(f"{option} {path}: there is no such file or folder")
    if mask_suffix and not mask.is_dir():
        raise UsageError(
            f"--mask-suffix {mask_suffix}: is for a folder of masks, and --mask {mask} is a file"
        )
    is_folder = image.is_dir()
    into_folder = is_folder or output.is_dir() or not output.suffix
    if is_folder:
        if output.exists() and not output.is_dir():
            raise UsageError(f"--output {output}: is a file; results of a folder of photos go to a folder")
        photos = _list_photos(image, mask, output, mask_suffix)
    else:
        photos = Listing(image.parent, [Path(image.name)])
    masks = Listing(mask, [Path()])
    matcher = None
    if mask.is_dir():
        masks = list_images(mask, [output, image] if is_folder else [])
        if _is_same(mask, image):
            masks.images = [path for path in masks.images if is_named_as_mask(path, mask_suffix)]
        matcher = MaskMatcher(masks.images, photos.images, mask_suffix)

    results = [numbered(output / photo if into_folder else output, count) for photo in photos.images]
    sources = [one.folder / path for one in (photos, masks) for path in one.images]
    kept = check_outputs(output, into_folder, list(itertools.chain.from_iterable(results)), sources, existing)
    tasks = []
    for photo, outputs in zip(photos.images, results, strict=True):
        own = [Path()] if matcher is None else matcher.masks_of(photo)
        left = [None if path in kept else path for path in outputs]
        hint = _hint(matcher, photo) if matcher is not None and not own else ""
        found = [masks.folder / path for path in own]
        tasks.append(Task(photos.folder / photo, found, left, mask_suffix, hint))
    if matcher is not None and is_folder and (unused := matcher.left()):
        say(f"note: no photo takes these masks of {mask}: {enumeration([str(path) for path in unused])}")
    done = sum(not any(task.outputs) for task in tasks)
    if done:
        say(f"note: {done} of {len(tasks)} photos have their results in {output} already, and are skipped")
    return [task for task in tasks if any(task.outputs)]


def _list_photos(image: Path, mask: Path, output: Path, mask_suffix: str) -> Listing:
    """List a folder of photos; results and masks that lie in subfolders of it are none."""
    photos = list_images(image, [output, *([mask] if mask.is_dir() else [])])
    if _is_same(mask, image):
        if not mask_suffix:
            found = next(
                (
                    suffix
                    for suffix in USUAL_SUFFIXES
                    for path in photos.images
                    if is_named_as_mask(path, suffix)
                ),
                USUAL_SUFFIXES[0],
            )
            raise UsageError(
                f"--mask {mask}: is the folder of the photos, too; say how the masks' names end with "
                f"--mask-suffix={found}"
            )
        photos.images = [path for path in photos.images if not is_named_as_mask(path, mask_suffix)]
    if not photos.images:
        raise UsageError(f"--image {image}: holds no photos ({', '.join(SUFFIXES)})")
    if photos.others:
        say(f"note: ignored in {image}, not an image by its suffix: {enumeration(photos.others)}")
    return photos


def _hint(matcher: MaskMatcher, photo: Path) -> str:
    suffix = matcher.suffix_for(photo)
    if suffix is None:
        return ""
    return f"; there is {photo.stem}{suffix}: are the masks named so? Then add --mask-suffix={suffix}"


def _is_same(one: Path, other: Path) -> bool:
    return one.is_dir() and other.is_dir() and one.samefile(other)
