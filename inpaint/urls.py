"""URLs, and what they are called in messages and files: without the secrets in them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

_USER = re.compile(r"//([^/?#\s]*)@")

# A query goes on to the next space; the quote, bracket or full stop that ends it belongs to the sentence.
_QUERY = re.compile(r"""(?:(://[^\s?]*)\?|\?(?=[^\s=]+=))\S*?(?=['")\]>.,;:]*(?:\s|$))""")

_SHORTEST_SECRET = 4  # characters; what is shorter would be found in every other word


def is_url(source: object) -> bool:
    """Whether this is a URL for fsspec and not a path."""
    return isinstance(source, str) and "://" in source


def source_label(source: str | Path) -> str:
    """What a source of photos may be called in messages and files: a path as it is, a URL without secrets."""
    return _USER.sub("//", str(source).partition("?")[0]) if is_url(source) else str(source)


def without_secrets(text: str, url: str) -> str:
    """A text, such as an error's, without what is secret in this URL, or in any other URL that it tells."""
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
