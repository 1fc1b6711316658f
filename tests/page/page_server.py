"""The page served by a thread, for tests that ask it or drive it as a visitor does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inpaint.page import mount_page
from inpaint.serving.app import Service, create_app
from inpaint.serving.limits import Limits
from inpaint.serving.models import Models
from inpaint.serving.server import Server, listen


class Served:
    """A page that is served: its address and the service behind it."""

    def __init__(self, service: Service, server: Server, port: int) -> None:
        self.service, self.server, self.port = service, server, port
        self.address = f"http://127.0.0.1:{port}{service.limits.root_path}/"

    def jobs(self) -> list[str]:
        """The states of all jobs that are known."""
        return [job.state for job in self.service.queue._jobs.values()]

    def wait_for(self, condition: Any, seconds: float = 20) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.jobs()
            time.sleep(0.05)


class BehindProxy:
    """An application whose proxy takes a path away from the front of each request's, as nginx does."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            # The server has put it in front of what came from the browser.
            scope = scope | {"path": scope["path"].removeprefix(scope["root_path"])}
        await self._app(scope, receive, send)


@contextmanager
def page_served(
    folder: Path, limits: Limits | None = None, *, filler: str = "page_fakes:filler", port: int = 0
) -> Iterator[Served]:
    service = Service(limits or Limits(), Models(), folder=folder, filler=filler, device="cpu")
    listening = listen("127.0.0.1", port)
    app = create_app(service.limits, service, bound_to="127.0.0.1", mount=mount_page(service))
    server = Server(BehindProxy(app) if service.limits.root_path else app, service.limits, service.queue)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    served = Served(service, server, listening.getsockname()[1])
    try:
        served.wait_for(lambda: server.started, 60)
        served.wait_for(lambda: service.queue.filler.answers() and service.queue.reader.answers(), 60)
        yield served
    finally:
        service.queue.close()
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
