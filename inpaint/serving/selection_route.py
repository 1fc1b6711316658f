"""The route of the REST API that finds the object that a rough mask lies on."""

from __future__ import annotations

import asyncio
import threading

from fastapi import APIRouter, Request
from fastapi.responses import Response

from .errors import ServiceError
from .forms import check_type, receive_selection, upload_bytes
from .jobs import JobQueue
from .middleware import client_of
from .schemas import SELECTION_FORM, SELECTION_MASK, problems
from .side_work import SideWork
from .tasks import RESULT

_GONE_SECONDS = 0.25  # how often it is looked whether a client is still there


def selection_routes(queue: JobQueue, selecting: SideWork) -> APIRouter:
    """Return the route over the selecting process; it takes nothing any more where the queue does not."""
    router = APIRouter()

    @router.post(
        "/api/v1/select",
        summary="Find the object that a rough mask lies on",
        responses={200: SELECTION_MASK, **problems(410, 415, 422, 429, 500, 504)},
        response_class=Response,
        openapi_extra=SELECTION_FORM,
    )
    async def select(request: Request) -> Response:
        """Answer with the object's mask. The work ends when the connection is closed before."""
        check_type(request)
        if queue.is_closing:
            raise ServiceError(
                503, "The server is being stopped; try again in a minute.", {"Retry-After": "60"}
            )
        size = upload_bytes(request, queue.limits)
        with selecting.place(client_of(request.scope), size) as folder:
            order = await receive_selection(request, folder)
            gone = threading.Event()
            watch = asyncio.create_task(_note_when_gone(request, gone))
            try:
                await selecting.run(folder, order, gone.is_set)
            finally:
                watch.cancel()
            data = await asyncio.to_thread((folder / RESULT).read_bytes)
        return Response(data, media_type="image/png")

    return router


async def _note_when_gone(request: Request, gone: threading.Event) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(_GONE_SECONDS)
    gone.set()
