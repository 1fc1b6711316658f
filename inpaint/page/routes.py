"""What the page's scripts ask for besides the REST API: files of the page, examples, and pictures to save."""

from __future__ import annotations

import asyncio
import importlib.resources
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from inpaint.page.desk import FILL, PHOTO, RESULT
from inpaint.page.examples import example_photos
from inpaint.serving.errors import ServiceError
from inpaint.serving.forms import receive_files, upload_bytes
from inpaint.serving.limits import Limits
from inpaint.serving.middleware import client_of
from inpaint.serving.side_work import SideWork

PATH = "/page"
"""Under which the page's own files lie, beside the API's `/api` and Gradio's."""

STATIC = Path(str(importlib.resources.files("inpaint.page"))) / "static"


def add_routes(app: FastAPI, limits: Limits, desk: SideWork) -> None:
    """Add the page's files and routes to the application, before the page itself.

    Args:
        app: the application.
        limits: of what is uploaded.
        desk: does the work of `inpaint.page.desk`.
    """
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
        return await _answer(request, limits, desk, "show", (PHOTO,))

    @router.post("/save")
    async def save(request: Request) -> Response:
        """Answer with the finished picture as a file like the photo was."""
        return await _answer(request, limits, desk, "save", (PHOTO, FILL))

    app.include_router(router)
    app.mount(PATH, _Modules(directory=STATIC), name="page")


class _Modules(StaticFiles):
    """Scripts and styles, which browsers ask for anew after an update of the server."""

    def file_response(self, *args: Any, **named: Any) -> Response:
        """Answer with a file, or that it is the one the browser has."""
        answer = super().file_response(*args, **named)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


async def _answer(
    request: Request, limits: Limits, desk: SideWork, task: str, names: tuple[str, ...]
) -> Response:
    with desk.place(client_of(request.scope), upload_bytes(request, limits)) as folder:
        async with request.form(max_files=len(names), max_fields=0) as form:
            await receive_files(form, folder, names)
        told = await desk.run(folder, {"do": task})
        data = await asyncio.to_thread((folder / RESULT).read_bytes)
    headers = {"X-Suffix": told["suffix"], "Cache-Control": "no-store"}
    return Response(data, media_type=told["media"], headers=headers)
