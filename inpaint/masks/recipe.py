"""The recipe of masks: its text, such as `free-form:0.1-0.5*3+thin:0.05-0.2`, and what it draws."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .checks import Kind, MaskNotes
from .folder import MaskFolder
from .generators import box, free_form, lama_medium, lama_thick, lama_thin, objects, random_walk
from .shapes import Ratio

_GENERATORS: dict[str, Callable[..., np.ndarray]] = {
    "free-form": free_form,
    "box": box,
    "object": objects,
    "random-walk": random_walk,
    "thin": lama_thin,
    "medium": lama_medium,
    "thick": lama_thick,
}
_FOLDERS = {"folder": False, "folder-inverted": True}
_HOW = (
    "a mask recipe is KIND[:LOW-HIGH][*WEIGHT], several joined by +, with KIND one of "
    + ", ".join(_GENERATORS)
    + ", or folder:PATH for ready masks (folder-inverted:PATH where black is the hole); "
    "for example free-form:0.1-0.5*3+thin:0.05-0.2*1"
)
REMEDIES: dict[Kind, str] = {
    "large": "folder:PATH takes white for the hole, folder-inverted:PATH takes black."
}
"""What to do in a recipe about masks that are worth a word, for `MaskNotes.sentences`."""

_NUMBER = r"(?:\d+\.?\d*|\.\d+)"
# A path may hold a plus sign, so a plus separates two sources only where a kind follows it.
_SEPARATOR = re.compile(r"\s*\+\s*(?=(?:" + "|".join([*_GENERATORS, *_FOLDERS]) + r")(?:[:*+\s]|$))")
_SOURCE = re.compile(
    rf"(?P<kind>[\w-]+)(?::(?P<argument>.*?))?(?:\*(?P<weight>{_NUMBER}))?", re.DOTALL | re.ASCII
)
_RANGE = re.compile(rf"({_NUMBER})-({_NUMBER})")


@dataclass(frozen=True)
class MaskSource:
    """One source of a recipe: a generator with its wanted hole ratio, or a folder, and its weight."""

    kind: str
    ratio: Ratio | None = None
    weight: float = 1.0
    folder: MaskFolder | None = None

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Draw a mask: bool `H×W`, True in the hole."""
        if self.folder is not None:
            return self.folder.draw(rng, height, width)
        return _GENERATORS[self.kind](rng, height, width, ratio=self.ratio)

    def __str__(self) -> str:
        if self.folder is not None:
            return f"{self.kind}:{self.folder.path}"
        if self.ratio is not None:
            return f"{self.kind}:{_plain(self.ratio[0])}-{_plain(self.ratio[1])}"
        return self.kind


class MaskRecipe:
    """Where masks come from: `recipe(rng, height, width) -> bool H×W`; made by `parse_recipe`.

    `str(recipe)` is the recipe's text, which `parse_recipe` reads back to an equal recipe.
    """

    def __init__(self, sources: list[MaskSource]) -> None:
        self.sources = tuple(sources)
        weights = np.array([source.weight for source in sources])
        self._thresholds = np.cumsum(weights / weights.sum())

    @property
    def broken(self) -> dict[str, str]:
        """The ready masks that could not be read so far: name -> reason."""
        folders = (source.folder for source in self.sources if source.folder is not None)
        return {name: reason for folder in folders for name, reason in folder.broken.items()}

    @property
    def notes(self) -> MaskNotes:
        """What is worth a word in the ready masks read so far."""
        notes = MaskNotes()
        for source in self.sources:
            if source.folder is not None:
                notes.update(source.folder.notes)
        return notes

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Draw one source by weight, and a mask from it: bool `H×W`, True in the hole."""
        chosen = 0
        if len(self.sources) > 1:
            chosen = int(np.searchsorted(self._thresholds[:-1], rng.random(), side="right"))
        return self.sources[chosen](rng, height, width)

    def __str__(self) -> str:
        if all(source.weight == 1 for source in self.sources):
            return "+".join(str(source) for source in self.sources)
        return "+".join(f"{source}*{_plain(source.weight)}" for source in self.sources)

    def __repr__(self) -> str:
        return f"parse_recipe({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MaskRecipe) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def parse_recipe(text: str) -> MaskRecipe:
    """Read a mask recipe such as `free-form:0.1-0.5*3+thin:0.05-0.2*1`.

    Kinds: `free-form`, `box`, `object`, `random-walk`, `thin`, `medium`, `thick` (the last
    three are LaMa's), each with an optional wanted hole ratio; `folder:PATH` draws a ready mask,
    `folder-inverted:PATH` one whose black pixels are the hole. Sources joined by `+` are drawn at random
    by weight (`*3`; 1 if not given).

    >>> recipe = parse_recipe("free-form:0.1-0.5*3 + thin:0.05-0.2")
    >>> str(recipe)
    'free-form:0.1-0.5*3+thin:0.05-0.2*1'
    >>> recipe(np.random.default_rng(0), 64, 96).shape
    (64, 96)

    Raises:
        ValueError: the text is not a recipe; the message says what is.
        FileNotFoundError: a folder of masks does not exist.
    """
    return MaskRecipe([_parse_source(part, text) for part in _SEPARATOR.split(text.strip())])


def _parse_source(part: str, text: str) -> MaskSource:
    match = _SOURCE.fullmatch(part.strip())
    if match is None:
        raise ValueError(f"mask recipe {text!r}: cannot read {part!r}; {_HOW}")
    kind, argument = match["kind"], match["argument"]
    weight = float(match["weight"] or 1)
    if weight <= 0:
        raise ValueError(f"mask recipe {text!r}: the weight of {part!r} must be above 0")
    if kind in _FOLDERS:
        if not argument:
            raise ValueError(f"mask recipe {text!r}: {kind} needs the path of a folder of masks; {_HOW}")
        return MaskSource(kind, weight=weight, folder=MaskFolder(argument, invert=_FOLDERS[kind]))
    if kind not in _GENERATORS:
        raise ValueError(f"mask recipe {text!r}: unknown kind {kind!r}; {_HOW}")
    if argument is None:
        return MaskSource(kind, weight=weight)
    bounds = _RANGE.fullmatch(argument.strip())
    if bounds is None:
        raise ValueError(f"mask recipe {text!r}: {argument!r} is not a range of hole ratios; {_HOW}")
    low, high = float(bounds[1]), float(bounds[2])
    if not low <= high <= 1:
        raise ValueError(f"mask recipe {text!r}: a hole ratio runs from 0 to 1, low before high; {_HOW}")
    return MaskSource(kind, (low, high), weight)


def _plain(number: float) -> str:
    """Return the shortest decimal text, with no exponent, that reads back as the same number."""
    return np.format_float_positional(number, trim="-")
