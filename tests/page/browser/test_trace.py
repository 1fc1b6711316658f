"""The Trace tab: a pixel of the fill is pressed, and what it was gathered from is seen and told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_visitor import GREEN, Visitor, noise
from PIL import Image
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

AXE = Path(__file__).resolve().parent.parent / "axe.min.js"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize(("window", "theme"), [(DESKTOP, "dark"), (PHONE, "light")], ids=["desktop", "phone"])
def test_a_pixel_of_the_fill_is_traced(
    visit: Callable[..., Visitor], window: dict[str, Any], theme: str, tmp_path: Path
) -> None:
    visitor = visit(color_scheme=theme, **window)
    trace = visitor.page.locator("#trace")
    visitor.page.get_by_role("tab", name="Trace").click()
    trace.get_by_text("Fill a photo on the Fill tab, then press").wait_for()
    visitor.page.get_by_role("tab", name="Fill").click()
    visitor.open_pixels(noise(300, 200), tmp_path)
    visitor.stroke((100, 100), (180, 100))
    visitor.fill()
    visitor.page.get_by_role("tab", name="Trace").click()
    picture = trace.get_by_role("application", name="The fill; press a pixel")
    picture.wait_for()
    box = picture.locator("img").bounding_box()
    assert box["width"] == pytest.approx(300, abs=1)

    def press(x: float, y: float) -> None:
        picture.click(position={"x": x, "y": y})

    press(140, 100)
    trace.locator("li").first.wait_for()
    shares = [float(line.split(" %")[0]) for line in trace.locator("li").all_inner_texts()]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    with visitor.page.expect_download() as download:
        trace.get_by_role("button", name="Download this picture").click()
    assert download.value.suggested_filename == "garden-trace.png"
    seen = np.asarray(Image.open(Path(download.value.path())))
    assert seen.shape == (200, 300, 3)
    assert (seen[100, 140] == 255).all()  # the cross
    assert (seen[95:98, 115:120] == GREEN).all()  # the hole is as it is
    assert seen[:30].max() < 140  # far known pixels are dark
    # By keyboard: to a known pixel, where there is nothing to trace.
    picture.focus()
    for _ in range(40):
        visitor.page.keyboard.press("ArrowUp")
    visitor.page.keyboard.press("Enter")
    trace.get_by_text("is no pixel of the hole").wait_for()
    visitor.page.add_script_tag(path=AXE)
    assert (
        visitor.run("return (await axe.run('#trace')).violations.map(({id, nodes}) => [id, nodes[0].html])")
        == []
    )
    trace.get_by_role("button", name="Show the fill").click()
    expect(trace.get_by_role("button", name="Download this picture")).to_have_attribute(
        "aria-disabled", "true"
    )
    assert visitor.run("return document.documentElement.scrollWidth <= innerWidth")
    # Another fill on the Fill tab is the one to trace next.
    visitor.page.get_by_role("tab", name="Fill").click()
    visitor.fill("Another fill")
    visitor.page.get_by_role("tab", name="Trace").click()
    expect(trace.get_by_role("status")).to_have_text("")
