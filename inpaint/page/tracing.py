"""The Trace tab: where a pixel of a fill comes from. The work runs in a process of its own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, FastAPI, Request
from PIL import Image
from starlette.datastructures import FormData

from inpaint.page.desk import FILL, MASK, PHOTO, RESULT
from inpaint.page.pictures import mask_of, photo_of, png
from inpaint.page.routes import PATH
from inpaint.plugins import load_plugins
from inpaint.serving.app import Service
from inpaint.serving.errors import ServiceError
from inpaint.serving.forms import receive_files, upload_bytes, whole_number
from inpaint.serving.middleware import client_of
from inpaint.serving.models import Models
from inpaint.serving.process import Report, Work
from inpaint.serving.schemas import DETAILS, LARGEST_GROWTH, LARGEST_SEED
from inpaint.serving.side_work import SideWork

SHOWN_SIDE = 2048
"""Longest side of the picture that is sent, in pixels."""


def work(settings: Mapping[str, Any]) -> Work:
    """Return the work. `settings`: `max_pixels`, and of `serving.tasks.filler` what models need."""
    from inpaint.inference import Inpainter
    from inpaint.inference.inpainter import grown
    from inpaint.inference.tracing import draw_trace, trace_fill

    load_plugins(settings.get("plugins", ()))
    max_pixels = settings["max_pixels"]
    loaded: dict[tuple[str, str], Inpainter] = {}

    def trace(folder: Path, order: Mapping[str, Any], report: Report) -> dict[str, Any]:
        photo, fill = (photo_of(folder / name, "photo", max_pixels).pixels for name in (PHOTO, FILL))
        mask = mask_of(folder / MASK, max_pixels)
        if not mask.shape == photo.shape[:2] == fill.shape[:2]:
            raise ServiceError(422, "Photo, mask and fill have different sizes; fill the photo again.")
        chosen = order["model"], order["detail"]
        if chosen not in loaded:
            loaded.clear()  # one at a time: it is a tab to look around in
            source = settings["models"][order["model"]]
            loaded[chosen] = Inpainter.from_pretrained(
                source, device=settings["device"], detail=order["detail"]
            )
        pixel = order["y"], order["x"]
        try:
            options = {"seed": order["seed"], "grow": order["grow"]}
            found = trace_fill(loaded[chosen], photo, mask, pixel, **options)
        except ValueError as error:
            raise ServiceError(422, f"This pixel cannot be traced: {error}.") from error
        picture = Image.fromarray(draw_trace(fill, grown(mask, order["grow"]), found))
        picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
        (folder / RESULT).write_bytes(png(np.asarray(picture)))
        return {
            "levels": [list(level) for level in found.levels],
            "rest": found.rest,
            "patch": None if found.patch is None else found.patch[::-1],
        }

    return trace


def add_tracing(app: FastAPI, service: Service, side: SideWork) -> None:
    """Add the route to the application.

    Args:
        app: the application.
        service: its models can be traced.
        side: its process does the work of this module.
    """
    router = APIRouter(prefix=PATH, include_in_schema=False)

    @router.post("/trace")
    async def trace(request: Request) -> dict[str, Any]:
        """Trace the pixel that `x` and `y` name in the file `fill`, made from `photo` and `mask`."""
        with side.place(client_of(request.scope), upload_bytes(request, service.limits)) as folder:
            async with request.form(max_files=3, max_fields=6) as form:
                order = _order(form, service.models)
                await receive_files(form, folder, (PHOTO, MASK, FILL))
            told = await side.run(folder, order)
            picture = await asyncio.to_thread((folder / RESULT).read_bytes)
        return {**told, "picture": base64.b64encode(picture).decode("ascii")}

    app.include_router(router)


def _order(form: FormData, models: Models) -> dict[str, Any]:
    largest = {"x": 10**6, "y": 10**6, "seed": LARGEST_SEED, "grow": LARGEST_GROWTH}
    order: dict[str, Any] = {
        name: whole_number(name, str(form.get(name, "")), most) for name, most in largest.items()
    }
    if (detail := str(form.get("detail", ""))) not in DETAILS:
        raise ServiceError(422, f"detail has to be one of {', '.join(DETAILS)}.")
    return {**order, "detail": detail, "model": models.find(str(form.get("model", ""))).name}
