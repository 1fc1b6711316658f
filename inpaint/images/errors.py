"""What is wrong with an image file: its name and the reason, apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self


class ImageError(ValueError):
    """An image file that cannot be read or written.

    Attributes:
        reason: what is wrong, and the remedy.
        name: the file's name, with which `str(error)` begins; empty where nobody has named it.
    """

    def __init__(self, reason: str, name: str = "") -> None:
        super().__init__(reason, name)
        self.reason, self.name = reason, name

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.name else self.reason

    def named(self, name: str) -> Self:
        """Return the same error under another name."""
        return type(self)(self.reason, name)


class LimitError(ImageError):
    """A file that is larger than it may be.

    Attributes:
        reason: what is too large, the limit, and that it is to be made smaller.
        limit: the argument that sets the limit, `max_pixels` or `max_file_bytes`; doors with other words for
            it put theirs in its place by `explain`.
        name: see `ImageError`.
    """

    def __init__(self, reason: str, limit: str, name: str = "") -> None:
        super().__init__(reason, name)
        self.args = (reason, limit, name)  # pickle calls the class with these
        self.limit = limit

    def __str__(self) -> str:
        return self.explain({self.limit: self.limit})

    def named(self, name: str) -> Self:
        """Return the same error under another name."""
        return type(self)(self.reason, self.limit, name)

    def explain(self, words: Mapping[str, str]) -> str:
        """Return the message with other words for the limits, such as `{"max_pixels": "--max-pixels"}`."""
        return f"{super().__str__()}, or raise {words[self.limit]}"
