"""What every metric asks of its pictures and masks."""

import numpy as np


def checked_picture(name: str, picture: np.ndarray) -> np.ndarray:
    """Return a picture after a check that it is uint8 RGB, H×W×3.

    Args:
        name: what the message calls it.
        picture: what is checked.

    Raises:
        ValueError: it is anything else.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ValueError(
            f"{name}: expected a uint8 RGB picture of shape (height, width, 3), "
            f"got {picture.dtype} of shape {picture.shape}"
        )
    return picture


def checked_pair(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two pictures after a check that both are uint8 RGB, H×W×3, of one size.

    Raises:
        ValueError: they are anything else.
    """
    checked_picture("truth", truth)
    checked_picture("prediction", prediction)
    if truth.shape != prediction.shape:
        raise ValueError(
            f"prediction: expected the truth's shape {truth.shape}, got {prediction.shape}; "
            "score pictures of one size, without resizing"
        )
    return truth, prediction


def checked_mask(mask: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Return a mask after a check that it is bool H×W, of the picture's size.

    Raises:
        ValueError: it is anything else.
    """
    if mask.dtype != np.bool_ or mask.shape != picture.shape[:2]:
        raise ValueError(
            f"mask: expected bool of shape {picture.shape[:2]} (True = hole), got {mask.dtype} of shape "
            f"{mask.shape}; a grey mask becomes bool as `mask > 127`"
        )
    return mask
