"""How scores of images become those of a method."""

import pytest

from inpaint.evaluation.averages import hole_ratio_bin


@pytest.mark.parametrize(
    ("hole", "pixels", "expected"),
    [
        (0, 100, None),
        (1, 100, None),
        (101, 10000, "0.01-0.1"),
        (10, 100, "0.01-0.1"),
        (1001, 10000, "0.1-0.2"),
        (20, 100, "0.1-0.2"),
        (3, 10, "0.2-0.3"),
        (30001, 100000, "0.3-0.4"),
        (32768, 65536, "0.4-0.5"),
        (60, 100, "0.5-0.6"),
        (61, 100, None),
        (100, 100, None),
    ],
)
def test_bins_hold_their_upper_edge(hole, pixels, expected):
    assert hole_ratio_bin(hole / pixels) == expected
