"""What the API answers, and what it takes: the schemas of `/openapi.json`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from inpaint.images import FORMATS

from .records import State, Status

LARGEST_SEED = 2**63 - 1
LARGEST_GROWTH = 1000
DETAILS = ("photo", "none")

MEDIA_TYPES = {format: f"image/{format.lower()}" for format in FORMATS}
"""Format -> media type of the answer."""


class Problem(BaseModel):
    """What went wrong."""

    detail: str = Field(description="A sentence that says what is wrong and what to do.")


class JobStatus(BaseModel):
    """A job at this moment."""

    id: str = Field(description="Names the job in the addresses of this API; keep it to yourself.")
    state: State
    place: int = Field(
        ge=0, description="Place among the jobs that wait, 1 is next; 0 where it does not wait."
    )
    seconds_left: float = Field(ge=0, description="Estimate of the seconds until it is done.")
    progress: float = Field(ge=0, le=1, description="Fraction done.")
    width: int
    height: int
    hole: int = Field(description="Pixels to fill.")
    notes: list[str] = Field(description="What was changed in reading the photo, and what the result lacks.")
    detail: str | None = Field(description="Why it failed or was cancelled, and what to do.")

    @classmethod
    def of(cls, status: Status) -> JobStatus:
        """Return what the API says of a job."""
        return cls(
            id=status.id,
            state=status.state,
            place=status.place,
            seconds_left=max(0.0, status.seconds_left),
            progress=status.progress,
            width=status.facts["width"],
            height=status.facts["height"],
            hole=status.facts["hole"],
            notes=list(status.facts["notes"]),
            detail=status.error.detail if status.error else None,
        )


class ModelEntry(BaseModel):
    """A model that `model` may name."""

    name: str
    title: str
    description: str
    default: bool = Field(description="Whether it is used where `model` is left out.")
    scores: dict[str, float]


class ModelList(BaseModel):
    """The models, and the other choices."""

    models: list[ModelEntry]
    details: list[str]
    formats: list[str]
    methods: list[str] = Field(description="What `method` of a selection may be, the default first.")


class Health(BaseModel):
    """Whether fills can be done."""

    status: str = Field(description="`ready`, `starting` or `stopping`.")
    version: str
    waiting: int
    running: int


_FIELDS: dict[str, dict[str, Any]] = {
    "image": {
        "type": "string",
        "format": "binary",
        "description": "The photo: a file of " + ", ".join(FORMATS) + ".",
    },
    "mask": {
        "type": "string",
        "format": "binary",
        "description": "Its hole, as a file of the upright photo's size: pixels above 127 are filled.",
    },
    "mask_rle": {
        "type": "string",
        "description": "Instead of `mask`: lengths of runs of pixels to keep and of hole in turn, row by row "
        "from the top left of the upright photo, keep first, such as `1 3 2`.",
    },
    "model": {"type": "string", "description": "A name of `/api/v1/models`."},
    "detail": {
        "type": "string",
        "enum": list(DETAILS),
        "default": "photo",
        "description": "`photo` lays the photo's own texture over the network's fill, `none` does not.",
    },
    "seed": {"type": "integer", "minimum": 0, "maximum": LARGEST_SEED, "default": 0},
    "grow": {
        "type": "integer",
        "minimum": 0,
        "maximum": LARGEST_GROWTH,
        "default": 0,
        "description": "Fill so many pixels around the mask, too.",
    },
    "format": {
        "type": "string",
        "enum": [format.lower() for format in FORMATS],
        "description": "Format of the answer; the photo's own where it is left out.",
    },
}

_METHOD = {
    "type": "string",
    "description": "How the object is found: one of `methods` in `/api/v1/models`; where it is left out, "
    "`grabcut`, which goes by colours and edges.",
}


def _form(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a multipart form for OpenAPI: it is read by hand, so that nothing is received in vain."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["image"],
                        "properties": fields,
                        "oneOf": [{"required": ["mask"]}, {"required": ["mask_rle"]}],
                    }
                }
            },
        }
    }


FORM = _form(_FIELDS)
"""The form of a fill."""

_ROUGHLY = "The same size as the photo, white where something is painted roughly over the object"
SELECTION_FORM = _form(
    {
        "image": _FIELDS["image"],
        "mask": _FIELDS["mask"] | {"description": f"{_ROUGHLY}, as a file."},
        "mask_rle": _FIELDS["mask_rle"],
        "method": _METHOD,
    }
)
"""The form of a selection."""

SELECTION_MASK: dict[str, Any] = {
    "description": "The object's mask: black and white, of the upright photo's size, white = the object.",
    "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
}

PICTURE: dict[str, Any] = {
    "description": "The picture: pixels outside the mask as they were, EXIF and colour profile kept.",
    "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA_TYPES.values()},
}

_REASONS = {
    400: "The request is malformed.",
    401: "A token or password is needed.",
    403: "The request comes from a page of another site.",
    404: "There is no such job.",
    408: "The request did not arrive in time.",
    409: "The job has not ended yet.",
    410: "The job or selection was cancelled.",
    413: "The request, the photo or the memory it takes is too large.",
    415: "The photo or mask cannot be read, or the body is no multipart form.",
    421: "The host name is none that this server goes by.",
    422: "A mask of another size, empty or full, nothing found under it, or a value that is out of range.",
    429: "The queue is full, the client has as many jobs as it may, or sent too many wrong tokens; see "
    "Retry-After.",
    500: "The fill or selection crashed or failed.",
    503: "The server is starting, stopping or has too many connections.",
    504: "The fill or selection took longer than a job may.",
}

EVERYWHERE = (400, 401, 403, 408, 413, 421, 429, 503)
"""Statuses that any request can be answered with."""

FILLING = (422, 500, 504)
"""Statuses of a fill that failed."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the answers of these statuses, and of those that any request can have."""
    answers: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": _REASONS[status]}
        for status in sorted({*EVERYWHERE, *statuses})
    }
    if 429 in answers:
        answers[429]["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        }
    return answers
