"""What the tests of the service share: a server on a port of its own, and pictures to send."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from inpaint.serving.app import Service, create_app
from inpaint.serving.limits import Limits
from inpaint.serving.models import Models
from inpaint.serving.server import Server, listen


def wait_for(condition: Callable[[], Any], seconds: float = 20.0, every: float = 0.02) -> Any:
    """What `condition` returns as soon as that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s")


def run_async(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns. It runs in a thread: the tests' own may have a browser's event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def photo(height: int = 48, width: int = 64) -> bytes:
    return png(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def mask(height: int = 48, width: int = 64) -> bytes:
    pixels = np.zeros((height, width), np.uint8)
    pixels[10:20, 10:30] = 255
    return png(pixels)


PHOTO, MASK = photo(), mask()


def form(**fields: Any) -> dict[str, Any]:
    """Arguments of httpx for a fill: bytes become files, None leaves a field out."""
    given = {"image": PHOTO, "mask": MASK, **fields}
    files = {name: (f"{name}.png", value) for name, value in given.items() if isinstance(value, bytes)}
    data = {
        name: str(value)
        for name, value in given.items()
        if value is not None and not isinstance(value, bytes)
    }
    return {"files": files, "data": data}


class Running:
    """A server that runs in a thread, and a client of it."""

    def __init__(self, service: Service, server: Server, port: int) -> None:
        self.service, self.server, self.port = service, server, port
        self.queue = service.queue
        self.client = httpx.Client(base_url=f"http://localhost:{port}", timeout=60, verify=False)

    def post(self, path: str = "/api/v1/inpaint", headers: dict[str, str] | None = None, **fields: Any):
        return self.client.post(path, headers=headers, **form(**fields))

    def job(self, **fields: Any) -> str:
        answer = self.post("/api/v1/jobs", **fields)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def state(self, job: str) -> dict[str, Any]:
        answer = self.client.get(f"/api/v1/jobs/{job}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for_state(self, job: str, state: str) -> dict[str, Any]:
        wait_for(lambda: self.state(job)["state"] == state)
        return self.state(job)

    def socket(self, seconds: float = 20.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)


@contextmanager
def serving(
    folder: Path,
    limits: Limits | None = None,
    filler: str = "serving_fakes:filler",
    mount: Any = None,
    ready: bool = True,
) -> Iterator[Running]:
    service = Service(limits or Limits(), Models(), folder=folder, filler=filler, device="cpu")
    app = create_app(service.limits, service, bound_to="127.0.0.1", mount=mount)
    listening = listen("127.0.0.1", 0)
    server = Server(app, service.limits, service.queue)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    running = Running(service, server, listening.getsockname()[1])
    try:
        if ready:
            wait_for(lambda: service.queue.filler.answers() and service.queue.reader.answers(), 60)
        yield running
    finally:
        running.client.close()
        service.queue.close()
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
    assert list(folder.iterdir()) == []
