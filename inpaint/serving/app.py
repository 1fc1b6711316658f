"""One ASGI application: the REST API, and beside it a page where there is one."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from inpaint import __version__

from . import server
from .api import api_routes
from .errors import ServiceError
from .jobs import JobQueue
from .limits import Limits
from .memory import memory_is_watched
from .metrics import Metrics
from .middleware import Answers, BodyLimit, Guard
from .models import Models
from .selection_route import selection_routes
from .side_work import SideWork
from .storage import Storage
from .worker import Worker

FILLER = "inpaint.serving.tasks:filler"
READER = "inpaint.serving.tasks:reader"
SELECTOR = "inpaint.serving.selecting:selector"

logger = logging.getLogger("inpaint.serving")


class Service:
    """The queue, its processes, its folder and its figures: everything behind the routes.

    A page in the same process takes `queue` and `models` from here.

    Attributes:
        model_settings: what a process needs to load the models: `device`, `models` by name, `plugins`.

    Args:
        limits: what is taken on.
        models: what is offered.
        device: where networks run.
        folder: where the private folder is made; by default the system's for temporary files.
        plugins: that the models need, see `inpaint.plugins.load_plugins`.
        filler: `module:function` that does the fills; others than `FILLER` are stand-ins.
        settings: further settings of it.
    """

    def __init__(
        self,
        limits: Limits,
        models: Models,
        *,
        device: str = "auto",
        folder: Path | None = None,
        plugins: Sequence[str] = (),
        filler: str = FILLER,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.limits, self.models, self.metrics = limits, models, Metrics()
        self.storage = Storage(folder, limits.upload_megabytes * 1e6)
        self.model_settings: dict[str, Any] = {
            "device": device,
            "models": {model.name: model.source for model in models},
            "plugins": list(plugins),
        }
        told = {
            "max_pixels": limits.max_pixels,
            **self.model_settings,
            "model": models.default,
            **(settings or {}),
        }
        memory: dict[str, Any] = {
            "memory_bytes": limits.memory_megabytes * 1e6,
            "idle_bytes": limits.idle_megabytes * 1e6,
            "jobs_per_process": limits.jobs_per_process,
        }
        self.queue = JobQueue(
            limits,
            Worker(filler, told, **memory),
            Worker(READER, {"max_pixels": limits.max_pixels}, **memory),
            self.storage,
            self.metrics.job_ended,
        )
        self._sides: list[SideWork] = []
        self.selecting = self.side_work(SELECTOR, "selection")

    def side_work(self, factory: str, what: str, settings: Mapping[str, Any] | None = None) -> SideWork:
        """Return a further process that ends with the service, such as a page has need of.

        Args:
            factory: `module:function` that returns the work.
            what: what a piece of work is called in messages.
            settings: of the work, besides `max_pixels`.
        """
        told = {"max_pixels": self.limits.max_pixels, **(settings or {})}
        side = SideWork(factory, told, what, self.limits, self.storage, lambda: self.queue.is_closing)
        self._sides.append(side)
        return side

    def close(self) -> None:
        """End everything and remove the folder."""
        self.queue.close()
        for side in self._sides:
            side.close()
        self.storage.close()


def create_app(
    limits: Limits | None = None,
    service: Service | None = None,
    *,
    bound_to: str = "",
    mount: Callable[[FastAPI], object] | None = None,
) -> FastAPI:
    """Return the application; its service starts and ends with it.

    Args:
        limits: what is taken on.
        service: what does the work; by default one with the installed models.
        bound_to: the host that the server listens on, which requests may name.
        mount: adds a page; it is called with the application when all routes of the API are there.
    """
    limits = limits or (service.limits if service is not None else Limits())
    given = service or Service(limits, Models())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        given.queue.start()
        if given.storage.swept:
            logger.info("removed the files of %d services that were killed", given.storage.swept)
        if not memory_is_watched():
            logger.warning(
                "this system does not tell how much memory a process has, so --memory-megabytes and "
                "--idle-megabytes are not watched; lower --max-megapixels where memory is short"
            )
        yield
        given.close()

    app = FastAPI(
        title="Inpaint",
        version=__version__,
        description="Paint over anything in a photo and get a believable picture back.",
        lifespan=lifespan,
        docs_url=None,  # they load scripts from other hosts
        redoc_url=None,
        exception_handlers={HTTPException: _problem, RequestValidationError: _invalid},  # type: ignore[dict-item]
    )
    app.state.service = given
    app.include_router(api_routes(given.queue, given.models, given.metrics))
    app.include_router(selection_routes(given.queue, given.selecting))
    if mount is not None:
        mount(app)
    # The last one added sees a request first.
    app.add_middleware(BodyLimit, limits=limits)
    app.add_middleware(Guard, limits=limits, bound_to=bound_to)
    app.add_middleware(Answers, count=given.metrics.request)
    return app


def serve(
    service: Service,
    host: str = "127.0.0.1",
    port: int = 7860,
    *,
    mount: Callable[[FastAPI], object] | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        OSError: the address cannot be used.
    """
    try:
        listening = server.listen(host, port)
    except OSError:
        service.close()
        raise
    app = create_app(service.limits, service, bound_to=host, mount=mount)
    shown = f"[{host}]" if ":" in host else host
    logger.info("http://%s:%d%s", shown, listening.getsockname()[1], service.limits.root_path)
    server.run(server.Server(app, service.limits, service.queue), listening)


def _problem(request: Request, error: HTTPException) -> Response:
    """Answer an error of ours, or of the framework, as JSON."""
    detail = error.detail
    if not isinstance(error, ServiceError):
        detail = {
            400: f"The request cannot be read ({detail}); send a form as curl -F does.",
            404: "There is nothing at this address; /openapi.json lists what there is.",
            405: "This address does not take that method; /openapi.json lists what it takes.",
        }.get(error.status_code, str(detail))
    return JSONResponse({"detail": detail}, error.status_code, headers=dict(error.headers or {}))


def _invalid(request: Request, error: RequestValidationError) -> Response:
    where = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
    return JSONResponse({"detail": f"The request has values that do not fit: {where}."}, 422)
