"""What exemplar synthesis measures: how strong a photo's texture is, and how far its guide can be trusted."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from inpaint.inference.filters import blurred, dilated, enlarged, shrunk
from inpaint.layers.push_pull import push_pull

GUIDE_BLUR = 2.0
"""Standard deviation in pixels of the blur that the guide and the photo are compared through."""

_CONTRAST_BLUR = 4.0
_SURROUNDINGS_BLUR = 24.0
_CONTRAST_FLOOR = 16.0  # squared grey levels that are noise
_TRUSTED_DEPTH = 24.0  # pixels from the rim, at the level of the low frequencies, where confidence has halved


def texture_of(colours: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return how strong fine detail is: the local deviation of the luma from its blurred self.

    It is measured where the photo is known, and continued into the hole as a membrane.

    Args:
        colours: uint8 h×w×3; what the hole holds is not read.
        hole: bool h×w.

    Returns:
        float32 h×w, in grey levels.
    """
    luma = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY).astype(np.float32)
    known = (~hole).astype(np.float32)

    def known_blur(values: np.ndarray, sigma: float) -> np.ndarray:
        return blurred(values * known, sigma) / np.maximum(blurred(known, sigma), 1e-3)

    deviation = np.sqrt(known_blur((luma - known_blur(luma, 1.5)) ** 2, 2.0))
    # The membrane is smooth: a quarter of the size will do for it.
    rows, columns = (-(-side // 4) for side in hole.shape)
    share = shrunk(known, rows, columns)
    means = torch.from_numpy(shrunk(deviation * known, rows, columns) / np.maximum(share, 1e-3))
    membrane = push_pull(means[None, None], torch.from_numpy((share > 0.1).astype(np.float32))[None, None])
    return np.where(hole, enlarged(membrane[0, 0].numpy(), hole.shape), deviation)


def confidence_of(smooth: np.ndarray, hole: np.ndarray, scale: float) -> np.ndarray:
    """Return how far the guide can be trusted: its local contrast over that of the photo around the hole.

    Where the photo has contrast that the guide has not, the guide is an average of what might be there.
    Confidence also falls with the distance from the hole's rim.

    Args:
        smooth: a level's colours through `GUIDE_BLUR`, float32 h×w×3: the photo, and in its hole the guide.
        hole: bool h×w.
        scale: pixels of the level of the low frequencies, per pixel of this one.

    Returns:
        float32 h×w in (0, 1].
    """
    contrast = ((smooth - blurred(smooth, _CONTRAST_BLUR)) ** 2).mean(axis=2)
    known = (~dilated(hole, 2)).astype(np.float32)
    rows, columns = (-(-side // 4) for side in hole.shape)
    share = blurred(shrunk(known, rows, columns), _SURROUNDINGS_BLUR / 4)
    around = blurred(shrunk(contrast * known, rows, columns), _SURROUNDINGS_BLUR / 4) / np.maximum(
        share, 1e-4
    )
    around = enlarged(around, known.shape)
    local = blurred(contrast, _CONTRAST_BLUR)
    confidence = np.minimum((local + _CONTRAST_FLOOR) / (around + _CONTRAST_FLOOR), np.float32(1))
    depth = cv2.distanceTransform(hole.view(np.uint8), cv2.DIST_L2, 5) * np.float32(scale)
    return confidence / (1 + (depth / _TRUSTED_DEPTH) ** 2)
