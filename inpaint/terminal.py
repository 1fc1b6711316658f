"""Text for terminals: names of files may hold codes that steer the terminal, and are escaped."""

from __future__ import annotations

import argparse
import logging
import unicodedata
from typing import NoReturn

# What changes how the rest of a line is shown: control and direction characters, line ends, unknown bytes.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # of the same class, and part of how some scripts are written


def printable(text: str) -> str:
    r"""Return a text of one line with all that would steer a terminal written as an escape, such as \x1b.

    >>> print(printable("red\x1b[31m.png"))
    red\x1b[31m.png
    """
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _UNPRINTABLE and character not in _JOINERS
        else character
        for character in text
    )


def printable_lines(text: str) -> str:
    """Return a text of several lines, each `printable`; a name in it has to be made so before."""
    return "\n".join(map(printable, text.split("\n")))


class ArgumentParser(argparse.ArgumentParser):
    """An argument parser whose errors are `printable`: they repeat what was given."""

    def error(self, message: str) -> NoReturn:
        """End the program with a usage error, code 2."""
        super().error(printable(message))


class Formatter(logging.Formatter):
    """A log's formatter whose records are `printable`, line by line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as text."""
        return printable_lines(super().format(record))
