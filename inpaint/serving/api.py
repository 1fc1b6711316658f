"""The routes of the REST API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import BinaryIO

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import iterate_in_threadpool

from inpaint import __version__
from inpaint.images import FORMATS
from inpaint.masks import selection

from .errors import ServiceError
from .forms import receive_job
from .jobs import JobQueue
from .metrics import Metrics
from .middleware import client_of
from .models import Models
from .records import Job
from .schemas import (
    DETAILS,
    FILLING,
    FORM,
    MEDIA_TYPES,
    PICTURE,
    Health,
    JobStatus,
    ModelEntry,
    ModelList,
    problems,
)

_CHUNK = 1 << 18
_HEARTBEAT_SECONDS = 10.0
_GONE_SECONDS = 0.25  # how often it is looked whether a client is still there
_STOP_SECONDS = 10.0  # a job that is cancelled has stopped long before


def api_routes(queue: JobQueue, models: Models, metrics: Metrics) -> APIRouter:
    """Return the routes over a queue."""
    router = APIRouter()

    @router.post(
        "/api/v1/inpaint",
        summary="Fill the hole of a photo and wait for it",
        responses={200: PICTURE, **problems(410, 415, 429, *FILLING)},
        response_class=Response,
        openapi_extra=FORM,
    )
    async def inpaint(request: Request) -> Response:
        """Answer with the filled picture. The job is cancelled when the connection is closed before."""
        job = await receive_job(request, queue, models, client_of(request.scope))
        watch = asyncio.create_task(_cancel_when_gone(request, queue, job))
        try:
            async for _ in queue.updates(job):
                pass
        finally:
            watch.cancel()
            queue.cancel(job)  # where the server is being stopped; an ended one stays as it is
        try:
            return await _picture(job)
        finally:
            queue.forget(job)

    @router.post(
        "/api/v1/jobs",
        status_code=202,
        summary="Put a fill into the queue",
        responses={202: {"description": "It waits."}, **problems(415, 422, 429, 500, 504)},
        openapi_extra=FORM,
    )
    async def create(request: Request, response: Response) -> JobStatus:
        """Answer with the job; its address is in `Location`."""
        job = await receive_job(request, queue, models, client_of(request.scope))
        if await request.is_disconnected():
            queue.cancel(job)  # a page that was closed meanwhile: nobody knows the job's id
        response.headers["Location"] = f"{request.scope.get('root_path', '')}/api/v1/jobs/{job.id}"
        return JobStatus.of(queue.status(job))

    @router.get(
        "/api/v1/jobs/{job_id}",
        summary="Say how far a job is",
        responses=problems(404, 422),
    )
    async def read(job_id: str) -> JobStatus:
        """Answer with state, place in the queue, estimate and progress."""
        return JobStatus.of(queue.status(queue.find(job_id)))

    @router.get(
        "/api/v1/jobs/{job_id}/events",
        summary="Say how far a job is, whenever that changes",
        responses={
            200: {
                "description": "Server-sent events named `status`, each with a job's status as JSON; "
                "the last one has ended.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **problems(404, 422),
        },
        response_class=StreamingResponse,
    )
    async def events(job_id: str) -> StreamingResponse:
        """Answer with a stream that ends with the job."""
        return StreamingResponse(
            _events(queue, queue.find(job_id)),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    @router.get(
        "/api/v1/jobs/{job_id}/result",
        summary="Fetch the filled picture",
        responses={200: PICTURE, **problems(404, 409, 410, *FILLING)},
        response_class=Response,
    )
    async def result(job_id: str) -> Response:
        """Answer with the picture, or with the reason why there is none."""
        return await _picture(queue.find(job_id))

    @router.delete(
        "/api/v1/jobs/{job_id}",
        summary="Cancel a job, or delete its result",
        responses=problems(404, 422),
    )
    async def delete(job_id: str) -> JobStatus:
        """Answer when the computing has stopped and the result is gone."""
        job = queue.find(job_id)
        ended_before = job.is_ended
        queue.cancel(job)
        async with asyncio.timeout(_STOP_SECONDS):
            async for _ in queue.updates(job, every=0.05):
                pass
        status = JobStatus.of(queue.status(job))
        if ended_before:
            queue.forget(job)
        return status

    @router.get("/api/v1/models", summary="List the models", responses=problems())
    async def list_models() -> ModelList:
        """Answer with what `model`, `detail`, `format` and `method` may be."""
        entries = [
            ModelEntry(
                name=model.name,
                title=model.title,
                description=model.description,
                default=model.name == models.default,
                scores=model.scores,
            )
            for model in models
        ]
        return ModelList(
            models=entries,
            details=list(DETAILS),
            formats=[format.lower() for format in FORMATS],
            methods=selection.methods(),
        )

    @router.get(
        "/health",
        summary="Say whether fills can be done",
        responses={**problems(), 503: {"model": Health, "description": "Not yet, or not any more."}},
    )
    async def health(response: Response) -> Health:
        """Answer 200 where the filling process answers, else 503."""
        ready = await asyncio.to_thread(queue.filler.answers)
        response.status_code = 200 if ready and not queue.is_closing else 503
        status = "stopping" if queue.is_closing else "ready" if ready else "starting"
        counts = queue.counts()
        return Health(
            status=status, version=__version__, waiting=counts["waiting"], running=counts["running"]
        )

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        responses={
            200: {
                "description": "Prometheus text.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            **problems(),
        },
        response_class=Response,
    )
    async def read_metrics() -> Response:
        """Answer with counters and gauges."""
        return Response(metrics.text(queue), media_type=metrics.media_type)

    return router


async def _cancel_when_gone(request: Request, queue: JobQueue, job: Job) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(_GONE_SECONDS)
    queue.cancel(job)


async def _events(queue: JobQueue, job: Job) -> AsyncIterator[str]:
    updates = queue.updates(job)
    pending: asyncio.Task[object] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(updates, None))
            done, _ = await asyncio.wait({pending}, timeout=_HEARTBEAT_SECONDS)
            if not done:
                yield ": still here\n\n"  # proxies close connections that are silent
                continue
            status = pending.result()
            pending = None
            if status is None:
                return
            yield f"event: status\ndata: {JobStatus.of(status).model_dump_json()}\n\n"  # type: ignore[arg-type]
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.wait({pending})
        await updates.aclose()  # type: ignore[attr-defined]


async def _picture(job: Job) -> Response:
    if job.error is not None:
        raise job.error
    if not job.is_ended:
        raise ServiceError(409, "The job has not ended yet; ask again, or follow its events.")
    try:
        stream = await asyncio.to_thread(job.result.open, "rb")
    except OSError:
        raise ServiceError(404, "The result has been forgotten; send the photo again.") from None
    format = job.facts["format"]
    return StreamingResponse(
        iterate_in_threadpool(_chunks(stream)),
        media_type=MEDIA_TYPES[format],
        headers={
            "Content-Length": str(job.size),
            "Content-Disposition": f'inline; filename="filled.{format.lower()}"',
        },
    )


def _chunks(stream: BinaryIO):  # type: ignore[no-untyped-def]
    with stream:
        while chunk := stream.read(_CHUNK):
            yield chunk
