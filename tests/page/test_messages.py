"""What visitors are told."""

from inpaint.images import ImageError, LimitError
from inpaint.page.messages import reason
from inpaint.weights import WeightsError


def test_a_reason_names_neither_the_file_nor_the_servers_limits() -> None:
    error = LimitError("14.0 megapixels, more than 13.0; make it smaller first", "max_pixels", "image")
    assert "raise" not in str(error)
    assert reason(error) == "14.0 megapixels, more than 13.0; make it smaller first"
    assert reason(ImageError("the file is cut short", "cat.png")) == "the file is cut short"


def test_a_reason_has_no_markup() -> None:
    assert reason(WeightsError("no model <b>here</b>")) == "no model &lt;b&gt;here&lt;/b&gt;"
