"""TIFFs with other channels than colours and transparency."""

import io

import numpy as np
import pytest
import tifffile

from inpaint.images import ImageError, read_photo

RNG = np.random.default_rng(0)


def tiff(channels, dtype=np.uint8, **options):
    stream = io.BytesIO()
    values = RNG.integers(0, 256, (8, 9, channels), dtype=dtype)
    tifffile.imwrite(stream, values, metadata=None, planarconfig="contig", **options)
    return values, stream.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_fourth_channel_that_is_no_transparency_is_named(dtype):
    values, data = tiff(4, dtype, photometric="rgb", extrasamples=["unspecified"])
    photo = read_photo(data)
    np.testing.assert_array_equal(photo.pixels if photo.wide is None else photo.wide, values[..., :3])
    assert photo.alpha is None
    assert photo.notes == ["its channel 4 is no transparency by its tags (infrared?) and was left out"]
    _, data = tiff(4, photometric="rgb", extrasamples=["unassalpha"])
    assert read_photo(data).notes == []


@pytest.mark.parametrize(
    "channels, kind", [(5, "rgb"), (5, "minisblack"), (4, "minisblack"), (2, "minisblack")]
)
def test_more_channels_are_counted_in_the_error(channels, kind):
    others = channels - (3 if kind == "rgb" else 1)
    _, data = tiff(channels, photometric=kind, extrasamples=["unspecified"] * others)
    with pytest.raises(ImageError, match=f"it has {channels} channels; save its RGB"):
        read_photo(data)
