"""The tasks by name: which data, which network, which recipe."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from recognition import data_sets
from recognition.instances import Instances, coco_detector, made_instances
from recognition.segmentation import Segmentation, ade20k_upernet, made_segmentation
from recognition.training import Recipe

TASKS = ("segmentation", "masks", "detection")

# Found in short trainings with the baseline alone; the same for all upsamplers.
MADE = {
    "segmentation": Recipe(steps=600, batch=8, rate=1e-2),
    "masks": Recipe(steps=400, batch=4, rate=2e-3),
    "detection": Recipe(steps=400, batch=4, rate=2e-3),
}

# 12 epochs of COCO's 117,266 pictures with objects, in batches of 16.
_COCO = Recipe(steps=88_000, batch=16, rate=0.02, optimizer="sgd", schedule="drops", warmup=1000)
# 20 epochs of 5000 steps, as UperNet's authors train it.
_ADE20K = Recipe(steps=100_000, batch=16, rate=0.02, optimizer="sgd", schedule="poly", warmup=0)
REAL = {
    "segmentation": _ADE20K,
    "masks": _COCO,
    "detection": _COCO,
}


@dataclass(frozen=True)
class Data:
    """Where pictures come from.

    Attributes:
        kind: `made`, `coco` or `ade20k`.
        folder: of the latter two.
    """

    kind: str = "made"
    folder: Path = Path()


def parse_data(text: str) -> Data:
    """Read `made`, `coco:DIR` or `ade20k:DIR`.

    Raises:
        ValueError: it is none of these, or there is no such folder.

    >>> parse_data("made").kind
    'made'
    """
    kind, _, folder = text.partition(":")
    if text == "made":
        return Data()
    if kind not in ("coco", "ade20k") or not folder:
        raise ValueError(f"data {text}: expected made, coco:DIR or ade20k:DIR")
    if not Path(folder).is_dir():
        raise ValueError(f"data {text}: there is no folder {folder}")
    return Data(kind, Path(folder))


def recipe_for(
    task: str, data: Data, steps: int | None = None, batch: int | None = None, rate: float | None = None
) -> Recipe:
    """Return the recipe of a task with its data; what is given overrides it.

    The rate of SGD follows the batch: half the batch, half the rate.
    """
    recipe = (MADE if data.kind == "made" else REAL)[task]
    if recipe.optimizer == "sgd" and batch is not None and rate is None:
        rate = recipe.rate * batch / recipe.batch
    given: dict[str, Any] = {"steps": steps, "batch": batch, "rate": rate}
    return dataclasses.replace(recipe, **{name: value for name, value in given.items() if value is not None})


def make_task(
    task: str, data: Data, seed: int, weights: str | None = "DEFAULT", size: int | None = None
) -> Segmentation | Instances:
    """Return a task with its data.

    Args:
        task: one of `TASKS`.
        data: where the pictures come from. COCO is for boxes and masks, ADE20k for segmentation.
        seed: of made pictures.
        weights: torchvision's of the backbone for COCO and ADE20k; None: fresh ones.
        size: short side of COCO's pictures, or side of the crops of ADE20k; None: 800 and 512.

    Raises:
        ValueError: the task is not one for such data.
    """
    if data.kind == "made":
        return made_segmentation(seed) if task == "segmentation" else made_instances(seed, task == "masks")
    if (data.kind == "ade20k") != (task == "segmentation"):
        raise ValueError(f"{data.kind} has no labels for {task}")
    if data.kind == "ade20k":
        return Segmentation(
            data_sets.ade20k(data.folder, "training", crop=size or 512),
            data_sets.ade20k(data.folder, "validation"),
            partial(ade20k_upernet, weights=weights),
            classes=data_sets.ADE20K_CLASSES,
        )
    validation = data_sets.coco(data.folder, "val2017")
    return Instances(
        data_sets.coco(data.folder, "train2017", training=True),
        validation,
        validation.truth,
        partial(coco_detector, task == "masks", weights, size or 800),
        task == "masks",
    )
