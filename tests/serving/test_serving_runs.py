"""Masks as run lengths."""

from __future__ import annotations

import numpy as np
import pytest

from inpaint.serving.errors import ServiceError
from inpaint.serving.runs import decode_runs, encode_runs


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_a_mask_survives_as_text(density: float) -> None:
    mask = np.random.default_rng(1).random((37, 53)) < density
    assert np.array_equal(decode_runs(encode_runs(mask), 37, 53), mask)


def test_separators_and_what_hole_is() -> None:
    expected = [[False, True, True], [True, False, False]]
    for text in ("1 3 2", "1,3,2", " 1, 3\n2 ", "1 3 2 0"):
        assert decode_runs(text, 2, 3).tolist() == expected
    assert decode_runs("0 6", 2, 3).all()


@pytest.mark.parametrize(
    "text", ["", " ", "x", "1 -3 8", "1.0 5", "1 3 3", "0", "1" * 30, "9" * 9 + " 1", "1 ٣ 2"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ServiceError, match="mask_rle") as caught:
        decode_runs(text, 2, 3)
    assert caught.value.status_code == 422
