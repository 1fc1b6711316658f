"""The route of the Evaluate tab: a photo and a mask in, and out, line by line, what became of each method.

The answer is a stream of JSON lines: first what is compared, then how far each method is, its scores and its
picture, last the table and the sheet. A comparison ends where the browser goes away.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib.util
import json
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse

from inpaint.page.comparison import BLANKED, HOLE, SHEET, SHOWN, TABLE, TRUTH
from inpaint.page.desk import MASK, PHOTO
from inpaint.page.routes import PATH
from inpaint.serving import tasks
from inpaint.serving.app import Service
from inpaint.serving.errors import CancelledError, ServiceError
from inpaint.serving.forms import receive_files, upload_bytes
from inpaint.serving.middleware import client_of
from inpaint.serving.models import Models
from inpaint.serving.side_work import SideWork

BASELINES = {
    "harmonic": ("Membrane", "A soap film over the hole, with nothing learnt: what the networks start from."),
    "telea": ("Telea", "OpenCV's fast marching (2004)."),
    "ns": ("Navier–Stokes", "OpenCV's continued lines of equal brightness (2001)."),
    "patchmatch": ("PatchMatch", "Patches of the photo found by random search (2009), by PyPatchMatch."),
}
"""Title and description of the classical methods that are offered, by their names for `evaluate.py`."""

_WAIT_SECONDS = 0.25
_MOST_AT_ONCE = 4


@dataclass(frozen=True)
class ComparedMethod:
    """A method that can be compared.

    Attributes:
        name: as `evaluate.py --methods` takes it.
        title: what people call it.
        description: one sentence.
        model: the model that fills; empty for a baseline.
        detail: "photo" or "none", of a model.
    """

    name: str
    title: str
    description: str
    model: str = ""
    detail: str = "none"


def compared_methods(models: Models) -> list[ComparedMethod]:
    """Return the methods that this server can compare: each model without and with texture, and baselines."""
    found = []
    for model in models:
        found += [
            ComparedMethod(model.name, f"{model.title}, network alone", model.description, model.name),
            ComparedMethod(
                f"{model.name}+photo",
                f"{model.title} + texture",
                "The same, with the photo's own texture laid over it.",
                model.name,
                "photo",
            ),
        ]
    for name, (title, description) in BASELINES.items():
        # Not asked of `inpaint.evaluation`: it would load OpenCV and scikit-image into the server's process.
        if name != "patchmatch" or importlib.util.find_spec("patchmatch") is not None:
            found.append(ComparedMethod(name, title, description))
    return found


class Comparison:
    """One comparison: its folder, its methods, and whether it is to end.

    Args:
        service: its queue lets models fill.
        side: its process does the work of `inpaint.page.comparison`.
        client: who asked.
        folder: holds the files `PHOTO` and `MASK`.
    """

    def __init__(self, service: Service, side: SideWork, client: str, folder: Path) -> None:
        self._service, self._side, self._client, self._folder = service, side, client, folder
        self._over = threading.Event()

    def cancel(self) -> None:
        """See to it that `run` ends soon."""
        self._over.set()

    def prepare(self) -> dict[str, Any]:
        """Read photo and mask, and return what is compared.

        Raises:
            ServiceError: they cannot be used.
        """
        facts = self._do(do="prepare")
        return {**facts, "truth": self._encoded(TRUTH), "hole": self._encoded(SHOWN)}

    def run(self, methods: Sequence[ComparedMethod], tell: Callable[[dict[str, Any]], None]) -> None:
        """Compare methods, one after the other, and tell what became of each."""
        rows = []
        with contextlib.suppress(CancelledError):
            for number, method in enumerate(methods):
                row = {"method": method.name, "title": method.title, "file": f"fill-{number}"}
                tell({"method": method.name, "state": "running"})
                try:
                    scores = self._scores(method, row["file"], tell)
                except CancelledError:
                    raise
                except ServiceError as error:
                    tell({"method": method.name, "state": "failed", "detail": error.detail})
                    continue
                rows.append({**row, "scores": scores})
                picture = self._encoded(row["file"])
                tell({"method": method.name, "state": "done", "scores": scores, "picture": picture})
            if rows:
                self._do(do="finish", rows=rows)
                table, sheet = (self._encoded(name) for name in (TABLE, SHEET))
                tell({"state": "done", "table": table, "sheet": sheet})

    def _scores(
        self, method: ComparedMethod, file: str, tell: Callable[[dict[str, Any]], None]
    ) -> dict[str, float | None]:
        if not method.model:
            return self._do(do="add", file=file, method=method.name)
        seconds = self._fill(method, file, tell)
        return self._do(do="add", file=file, method="", seconds=seconds)

    def _fill(self, method: ComparedMethod, file: str, tell: Callable[[dict[str, Any]], None]) -> float:
        """Let the queue fill what `prepare` made ready; return the seconds that it computed."""
        queue = self._service.queue
        order = {"model": method.model, "detail": method.detail, "seed": 0, "grow": 0, "format": "PNG"}
        with queue.slot(self._client) as slot:
            shutil.copyfile(self._folder / BLANKED, slot.folder / tasks.PHOTO)
            shutil.copyfile(self._folder / HOLE, slot.folder / tasks.MASK)
            job = queue.submit(slot, {**order, "runs": False})
        try:
            while not queue.wait(job, _WAIT_SECONDS):
                if self._over.is_set():
                    raise CancelledError
                status = queue.status(job)
                tell(
                    {
                        "method": method.name,
                        "state": status.state,
                        "place": status.place,
                        "progress": status.progress,
                        "seconds_left": status.seconds_left,
                    }
                )
            if job.error is not None:
                raise job.error
            shutil.copyfile(job.result, self._folder / file)
            return job.ended - job.started
        finally:
            queue.cancel(job)
            queue.wait(job)
            queue.forget(job)

    def _do(self, **order: Any) -> dict[str, Any]:
        return self._side.submit(self._folder, order, self._over.is_set).result()

    def _encoded(self, file: str) -> str:
        return base64.b64encode((self._folder / file).read_bytes()).decode("ascii")


def add_comparison(app: FastAPI, service: Service, side: SideWork) -> None:
    """Add the route to the application.

    Args:
        app: the application.
        service: its models can be compared.
        side: its process does the work of `inpaint.page.comparison`.
    """
    router = APIRouter(prefix=PATH, include_in_schema=False)
    known = {method.name: method for method in compared_methods(service.models)}
    # Threads of their own: a comparison takes minutes, and the server's are for what takes a moment.
    threads = ThreadPoolExecutor(_MOST_AT_ONCE, "inpaint-comparison")

    @router.post("/compare")
    async def compare(request: Request) -> StreamingResponse:
        """Compare the methods that the form's fields `method` name on its files `photo` and `mask`."""
        with contextlib.ExitStack() as held:
            client = client_of(request.scope)
            folder = held.enter_context(side.place(client, upload_bytes(request, service.limits)))
            methods = await _receive(request, folder, known)
            comparison = Comparison(service, side, client, folder)
            facts = await asyncio.wrap_future(threads.submit(comparison.prepare))
            loop, lines = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any] | None]()

            def tell(line: dict[str, Any] | None) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has been closed
                    loop.call_soon_threadsafe(lines.put_nowait, line)

            # The thread gives the place back. It begins here and not in `_lines`, which is never entered
            # where the browser goes away before the first line.
            threads.submit(_work, comparison, methods, tell, held.pop_all())
        return StreamingResponse(
            _lines(request, comparison, facts, lines),
            media_type="application/x-ndjson",
            headers={"Cache-Control": "no-store"},
        )

    app.include_router(router)


async def _receive(request: Request, folder: Path, known: dict[str, ComparedMethod]) -> list[ComparedMethod]:
    async with request.form(max_files=2, max_fields=len(known)) as form:
        names = list(dict.fromkeys(str(value) for value in form.getlist("method")))
        if not names:
            raise ServiceError(422, "Choose at least one method.")
        if unknown := [name for name in names if name not in known]:
            raise ServiceError(422, f"There is no method {unknown[0]!r}; there is {', '.join(known)}.")
        await receive_files(form, folder, (PHOTO, MASK))
    return [known[name] for name in names]


def _work(
    comparison: Comparison,
    methods: Sequence[ComparedMethod],
    tell: Callable[[dict[str, Any] | None], None],
    place: contextlib.ExitStack,
) -> None:
    """Compare, give the place back, and tell that there is nothing more to tell."""
    try:
        with place:
            comparison.run(methods, tell)
    finally:
        tell(None)


async def _lines(
    request: Request,
    comparison: Comparison,
    facts: dict[str, Any],
    lines: asyncio.Queue[dict[str, Any] | None],
) -> AsyncIterator[bytes]:
    """Yield the lines of an answer as they are told; the comparison ends where nobody reads them any more."""
    try:
        yield _line({"state": "begun", **facts})
        while True:
            try:
                line = await asyncio.wait_for(lines.get(), _WAIT_SECONDS)
            except TimeoutError:
                if await request.is_disconnected():
                    return
                continue
            if line is None:
                return
            yield _line(line)
    finally:
        comparison.cancel()


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"
