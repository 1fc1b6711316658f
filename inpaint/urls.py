"""URLs, and what they are called in messages and files: without the secrets in them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

_USER = re.compile(r"//([^/?#\s]*)@")

# A query ends at a space; a quote, bracket or full stop at its end belongs to the sentence around it.
_QUERY = re.compile(r"""(?:(://[^\s?]*)\?|\?(?=[^\s=]+=))\S*?(?=['")\]>.,;:]*(?:\s|$))""")

_SHORTEST_SECRET = 4  # characters; shorter ones would match parts of ordinary words


def is_url(source: object) -> bool:
    """Return whether this is a URL for fsspec and not a path."""
    return isinstance(source, str) and "://" in source


def source_label(source: str | Path) -> str:
    """Return what a source of photos is called in messages and files: a path as it is, a URL without secrets.

    >>> source_label("https://me:secret@store.example/a.tar?signature=secret")
    'https://store.example/a.tar'
    """
    return _USER.sub("//", str(source).partition("?")[0]) if is_url(source) else str(source)


def without_secrets(text: str, url: str) -> str:
    """Return a text, such as an error's, without the secrets of this URL and of the URLs that it names."""
    query = url.partition("?")[2]
    users = _USER.findall(url)
    values = [pair.partition("=")[2] for pair in query.split("&")]
    secrets = {query, *values, *users, *(user.partition(":")[2] for user in users)}
    secrets |= {unquote(secret) for secret in secrets}
    text = text.replace(url, source_label(url))
    text = _USER.sub("//", _QUERY.sub(r"\1", text))
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "…")
    return text
