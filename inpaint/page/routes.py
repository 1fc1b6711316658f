"""What the page's scripts ask for besides the REST API: files of the page, examples, and pictures to save."""

from __future__ import annotations

import asyncio
import importlib.resources
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, Response
from starlette.datastructures import UploadFile
from starlette.staticfiles import StaticFiles

from inpaint.page.desk import FILL, PHOTO, RESULT
from inpaint.page.examples import example_photos
from inpaint.serving.app import Service
from inpaint.serving.errors import ServiceError
from inpaint.serving.worker import Worker

PATH = "/page"
"""Under which the page's own files lie, beside the API's `/api` and Gradio's."""

STATIC = Path(str(importlib.resources.files("inpaint.page"))) / "static"

_MOST_WAITING = 8
_SECONDS = 120.0


class Desk:
    """A process that does work for the page, one piece at a time.

    Args:
        service: its limits hold here, too.
        factory: `module:function` of the work.
        settings: of the work, besides `max_pixels`.
    """

    def __init__(
        self,
        service: Service,
        factory: str = "inpaint.page.desk:work",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._service = service
        self._worker = Worker(
            factory,
            {"max_pixels": service.limits.max_pixels, **(settings or {})},
            memory_bytes=service.limits.memory_megabytes * 1e6,
            idle_bytes=service.limits.idle_megabytes * 1e6,
        )
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(_MOST_WAITING)

    @contextmanager
    def place(self) -> Iterator[Path]:
        """Hold one of a few places; yields a folder that is removed afterwards.

        Raises:
            ServiceError: (429) all places are taken.
        """
        if not self._places.acquire(blocking=False):
            raise ServiceError(
                429, "The server is busy with other pictures; try again in a moment.", {"Retry-After": "5"}
            )
        try:
            folder = self._service.storage.new_folder()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            self._places.release()

    def run(
        self, folder: Path, order: Mapping[str, Any], cancelled: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        """Do a piece of work on the files of a folder. The process is started for the first one.

        Args:
            folder: where the files lie.
            order: what to do.
            cancelled: asked many times a second whether the work is to end.

        Raises:
            ServiceError: it failed; the message is meant for the visitor.
        """
        with self._turn:
            return self._worker.run(folder, order, seconds=_SECONDS, cancelled=cancelled)

    def close(self) -> None:
        """End the process."""
        self._worker.stop()


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the page's files and routes to the application, before the page itself."""
    router = APIRouter(prefix=PATH, include_in_schema=False)
    examples = example_photos()

    @router.get("/examples/{name}")
    async def example(name: str) -> FileResponse:
        if name not in examples:
            raise ServiceError(404, "There is no such example.")
        return FileResponse(examples[name])

    @router.post("/show")
    async def show(request: Request) -> Response:
        """Answer with a photo as a PNG that every browser opens."""
        return await _answer(request, desk, "show", (PHOTO,))

    @router.post("/save")
    async def save(request: Request) -> Response:
        """Answer with the finished picture as a file like the photo was."""
        return await _answer(request, desk, "save", (PHOTO, FILL))

    app.include_router(router)
    app.mount(PATH, _Modules(directory=STATIC), name="page")


class _Modules(StaticFiles):
    """Scripts and styles, which browsers ask for anew after an update of the server."""

    def file_response(self, *args: Any, **named: Any) -> Response:
        """Answer with a file, or that it is the one the browser has."""
        answer = super().file_response(*args, **named)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


async def _answer(request: Request, desk: Desk, task: str, names: tuple[str, ...]) -> Response:
    with desk.place() as folder:
        async with request.form(max_files=len(names), max_fields=0) as form:
            for name in names:
                file = form.get(name)
                if not isinstance(file, UploadFile):
                    raise ServiceError(422, f"The form has no file named {name}.")
                await asyncio.to_thread(store, file, folder / name)
        told = await asyncio.to_thread(desk.run, folder, {"do": task})
        data = await asyncio.to_thread((folder / RESULT).read_bytes)
    headers = {"X-Suffix": told["suffix"], "Cache-Control": "no-store"}
    return Response(data, media_type=told["media"], headers=headers)


def store(file: UploadFile, path: Path) -> None:
    """Write what was uploaded to a file."""
    with path.open("wb") as stream:
        shutil.copyfileobj(file.file, stream, 1 << 20)
