"""The variants of the exemplar stage: each takes something away, and leaves the modules as they were."""

import numpy as np
import skimage.data

from inpaint.evaluation.methods import METHODS


def test_every_variant_fills_otherwise_and_is_undone(detail_parts):
    """A wide hole and a thin one, in a photo that is grass above and a ramp below."""
    image = skimage.data.grass()[:200, :200].copy()
    image[110:] = np.linspace(90, 150, 200)[None]
    image = np.repeat(image[..., None], 3, axis=2)
    mask = np.zeros((200, 200), bool)
    mask[70:150, 60:110] = True
    mask[20:190, 140:150] = True
    whole = detail_parts.filled(METHODS["harmonic"], {}, image, mask)
    for name, changes in detail_parts.VARIANTS.items():
        before = {key: getattr(*key) for key in changes}
        fill = detail_parts.filled(METHODS["harmonic"], changes, image, mask)
        assert {key: getattr(*key) for key in changes} == before
        changed = (fill != whole).any(axis=2)
        assert changed.any() == bool(changes), name
        assert not changed[~mask].any()
