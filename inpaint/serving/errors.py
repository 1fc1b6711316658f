"""What a request can fail with: an HTTP status and a sentence that says what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping

from starlette.exceptions import HTTPException

from inpaint.images import ImageError, LimitError


class ServiceError(HTTPException):
    """A request or job that cannot be done.

    Attributes:
        status_code: the HTTP status.
        detail: a sentence for people, with the remedy.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)


class BusyError(ServiceError):
    """Too much is waiting already (status 429); the answer says when to try again."""

    def __init__(self, detail: str, seconds: float) -> None:
        super().__init__(429, detail, {"Retry-After": str(max(1, math.ceil(seconds)))})


class CancelledError(ServiceError):
    """The job was cancelled (status 410)."""

    def __init__(self) -> None:
        super().__init__(410, "The job was cancelled; send the photo again to have it filled.")


def unreadable(error: ImageError, what: str) -> ServiceError:
    """Return the error for a file that cannot be read: status 413 where it is too large, else 415."""
    status = 413 if isinstance(error, LimitError) else 415
    return ServiceError(status, f"The {what} cannot be read: {error.reason}.")
