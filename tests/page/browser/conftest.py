"""The page served with a stand-in for the filling process, for tests that drive it as a visitor does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from page_server import Served, page_served
from page_visitor import Visitor

from inpaint.serving.limits import Limits

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LIMITS = Limits(max_megabytes=40, max_megapixels=13)


@pytest.fixture(scope="session")
def _served(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with page_served(tmp_path_factory.mktemp("page"), LIMITS) as served:
        yield served


@pytest.fixture
def served(_served: Served) -> Iterator[Served]:
    """The page, with nothing in its queue."""
    yield _served
    queue = _served.service.queue
    for job in list(queue._jobs.values()):
        queue.cancel(job)
        assert queue.wait(job, 20)
        queue.forget(job)


@pytest.fixture
def visit(chromium: Browser, served: Served) -> Iterator[Callable[..., Visitor]]:
    """Open the page in a fresh window: visit(**settings) -> Visitor.

    The test fails if the page asked anything of another host, or if one of its scripts threw an error.
    """
    contexts = []
    faults: list[str] = []

    def note_request(request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            faults.append(request.url)

    def open_window(address: str = served.address, **settings: Any) -> Visitor:
        context = chromium.new_context(**({"viewport": {"width": 1280, "height": 900}} | settings))
        context.set_default_timeout(60_000)
        context.on("request", note_request)
        context.on("weberror", lambda error: faults.append(str(error.error)))
        contexts.append(context)
        return Visitor(context, address)

    yield open_window
    for context in contexts:
        context.close()
    assert faults == []
