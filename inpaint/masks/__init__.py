"""Masks: where the hole is. bool H×W, True = to be filled.

The generators draw holes at random, a `MaskFolder` holds ready ones, `parse_recipe` reads what to draw from a
text, and `blanked` hides what lies in a hole.
"""

from .blanking import HOLE_GREY, blanked
from .checks import CheckedMask, MaskNotes, check_mask, read_checked_mask
from .folder import MaskFolder
from .generators import box, free_form, lama_medium, lama_thick, lama_thin, objects, random_walk
from .random import generator_for
from .recipe import MaskRecipe, MaskSource, parse_recipe

__all__ = [
    "HOLE_GREY",
    "CheckedMask",
    "MaskFolder",
    "MaskNotes",
    "MaskRecipe",
    "MaskSource",
    "blanked",
    "box",
    "check_mask",
    "free_form",
    "generator_for",
    "lama_medium",
    "lama_thick",
    "lama_thin",
    "objects",
    "parse_recipe",
    "random_walk",
    "read_checked_mask",
]
