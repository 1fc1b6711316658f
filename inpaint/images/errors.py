"""What is wrong with an image file: its name and the reason, apart."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Self

# What decoders raise for a broken file: Pillow's decoders have no exception class of their own.
DECODER_ERRORS = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError),
    *(struct.error, zlib.error),
)


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
        limit: the argument that sets the limit, `max_pixels` or `max_file_bytes`. `str(error)` does not name
            it, because most people meet another word for it, or none: see `explain`.
        name: see `ImageError`.
    """

    def __init__(self, reason: str, limit: str, name: str = "") -> None:
        super().__init__(reason, name)
        self.args = (reason, limit, name)  # pickle calls the class with these
        self.limit = limit

    def named(self, name: str) -> Self:
        """Return the same error under another name."""
        return type(self)(self.reason, self.limit, name)

    def explain(self, words: Mapping[str, str]) -> str:
        """Return the message with what raises the limit, where it can be raised.

        Args:
            words: what the user has to raise for each limit.

        >>> error = LimitError("98 megapixels are more than 50; make it smaller first", "max_pixels", "a.png")
        >>> error.explain({"max_pixels": "--max-megapixels"})
        'a.png: 98 megapixels are more than 50; make it smaller first, or raise --max-megapixels'
        """
        word = words.get(self.limit)
        return f"{self}, or raise {word}" if word else str(self)
