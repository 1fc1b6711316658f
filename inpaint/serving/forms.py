"""The multipart forms of fills and selections: nothing is received before there is a place for it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect, Request

from inpaint.images import FORMATS
from inpaint.masks import selection

from . import tasks
from .errors import ServiceError
from .jobs import JobQueue
from .limits import Limits
from .models import Models
from .records import Job
from .runs import MOST_CHARACTERS
from .schemas import DETAILS, LARGEST_GROWTH, LARGEST_SEED

_HOLE = frozenset({"image", "mask", "mask_rle"})
_FILL = _HOLE | {"model", "detail", "seed", "grow", "format"}
_SELECTION = _HOLE | {"method"}

Order = dict[str, Any]


async def receive_job(request: Request, queue: JobQueue, models: Models, client: str) -> Job:
    """Receive a fill's form and put it into the queue.

    Raises:
        ServiceError: there is no place in the queue, or the form, photo or mask cannot be used.
    """
    check_type(request)
    with queue.slot(client, upload_bytes(request, queue.limits)) as slot:
        order = await _receive(request, slot.folder, lambda form: _read_order(form, models))
        return await queue.submit_async(slot, order)


async def receive_selection(request: Request, folder: Path) -> Order:
    """Receive a selection's form into a folder, and return the order.

    Raises:
        ServiceError: the form cannot be used.
    """
    return await _receive(request, folder, _read_selection)


def upload_bytes(request: Request, limits: Limits) -> int:
    """Return the bytes that a request is going to bring, at most."""
    length = request.headers.get("content-length", "")
    return min(int(length), limits.max_bytes) if length.isdigit() else limits.max_bytes


def check_type(request: Request) -> None:
    """Refuse a body that is no multipart form (415)."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise ServiceError(415, "Send a form of the type multipart/form-data, with the files image and mask.")


async def _receive(request: Request, folder: Path, read: Callable[[FormData], Order]) -> Order:
    # Files go to the disk as they come in; only a mask as text is held in memory.
    try:
        async with request.form(max_files=4, max_fields=16, max_part_size=MOST_CHARACTERS) as form:
            order = read(form)
            image = form["image"]
            assert isinstance(image, UploadFile)
            await save_upload(image, folder / tasks.PHOTO)
            mask = form.get("mask")
            if isinstance(mask, UploadFile):
                await save_upload(mask, folder / tasks.MASK)
            else:
                (folder / tasks.RUNS).write_text(str(form["mask_rle"]), "utf-8")
            return order
    except ClientDisconnect:
        raise ServiceError(408, "The request did not arrive; send it again.") from None


def _read_order(form: FormData, models: Models) -> Order:
    has_runs = _check_fields(form, _FILL)
    return {
        "model": models.find(_text(form, "model") or None).name,
        "detail": _choice(form, "detail", DETAILS) or "photo",
        "seed": _number(form, "seed", LARGEST_SEED),
        "grow": _number(form, "grow", LARGEST_GROWTH),
        "format": _choice(form, "format", tuple(format.lower() for format in FORMATS)).upper(),
        "runs": has_runs,
    }


def _read_selection(form: FormData) -> Order:
    has_runs = _check_fields(form, _SELECTION)
    method, installed = _text(form, "method") or selection.DEFAULT, selection.methods()
    if method not in installed:
        raise ServiceError(
            422, f"There is no such method installed; method has to be one of {', '.join(installed)}."
        )
    return {"method": method, "runs": has_runs}


def _check_fields(form: FormData, known: frozenset[str]) -> bool:
    """Refuse what a form has too much or too little; return whether its mask is text."""
    for name in form:
        if name not in known:
            raise ServiceError(
                422, f"The form has a field that is not known; known are {', '.join(sorted(known))}."
            )
        if len(form.getlist(name)) > 1:
            raise ServiceError(422, f"The form has the field {name} more than once; send it once.")
    if not isinstance(form.get("image"), UploadFile):
        raise ServiceError(422, "The form has no file named image; send the photo under this name.")
    has_mask, has_runs = "mask" in form, "mask_rle" in form
    if has_mask == has_runs:
        raise ServiceError(422, "Send the hole either as a file named mask or as text named mask_rle.")
    if has_mask != isinstance(form.get("mask"), UploadFile) or isinstance(form.get("mask_rle"), UploadFile):
        raise ServiceError(422, "mask has to be a file with a file name, and mask_rle a text.")
    return has_runs


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    if isinstance(value, UploadFile):
        raise ServiceError(422, f"{name} has to be a text and not a file.")
    return value.strip()


def _choice(form: FormData, name: str, choices: tuple[str, ...]) -> str:
    value = _text(form, name).lower()
    if value and value not in choices:
        raise ServiceError(422, f"{name} has to be one of {', '.join(choices)}.")
    return value


def _number(form: FormData, name: str, largest: int) -> int:
    return whole_number(name, _text(form, name) or "0", largest)


def whole_number(name: str, value: str, largest: int) -> int:
    """Read a field's text.

    Raises:
        ServiceError: (422) it is no whole number from 0 to `largest`.
    """
    if not (value.isascii() and value.isdigit() and len(value) <= 20 and int(value) <= largest):
        raise ServiceError(422, f"{name} has to be a whole number from 0 to {largest}.")
    return int(value)


async def receive_files(form: FormData, folder: Path, names: Iterable[str]) -> None:
    """Write the files of a form into a folder, each under its field's name.

    Raises:
        ServiceError: (422) the form lacks one of them.
    """
    for name in names:
        file = form.get(name)
        if not isinstance(file, UploadFile):
            raise ServiceError(422, f"The form has no file named {name}.")
        await save_upload(file, folder / name)


async def save_upload(upload: UploadFile, path: Path) -> None:
    """Write what was uploaded to a file, beside the event loop."""

    def copy() -> None:
        with path.open("wb") as stream:
            shutil.copyfileobj(upload.file, stream, 1 << 20)

    await asyncio.to_thread(copy)
