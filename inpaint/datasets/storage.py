"""Where shards lie: files of this machine, or objects behind a URL that fsspec knows how to read."""

from __future__ import annotations

import glob
import itertools
import logging
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar

from fsspec.core import url_to_fs

from inpaint.files import open_regular
from inpaint.urls import source_label, without_secrets

logger = logging.getLogger("inpaint.datasets")

WAITS = (0.5, 2.0, 6.0)
"""Seconds between the attempts to read from a URL. An overloaded store recovers in less; one that is gone
should not hold up the run for long."""

# Names under which stores tell the version of an object; over HTTP these are names of headers.
_VERSIONS = (
    *("ETag", "etag", "Content-MD5", "Digest", "md5", "md5Hash", "sha", "generation"),
    *("Last-Modified", "LastModified", "last_modified", "mtime", "modify", "modificationTime", "updated"),
    *("created", "ino"),
)
_NO_RANGES = "the server does not serve ranges of bytes; put simplecache:: in front of the URL"
_PATTERN = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
Result = TypeVar("Result")


class ShardError(OSError):
    """A shard that cannot be read as it should.

    Attributes:
        reason: what is wrong.
        name: the shard's label, with which `str(error)` begins.
    """

    def __init__(self, reason: str, name: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason, self.name = reason, name

    def __reduce__(self) -> tuple[type[ShardError], tuple[str, str]]:
        return type(self), (self.reason, self.name)


class LostError(ShardError):
    """A shard that is not there, or cannot be reached any more: none of its photos can be read."""


@dataclass(frozen=True)
class LocalFile:
    """A file of this machine."""

    path: Path

    @property
    def label(self) -> str:
        """What it is called in messages and in front of names."""
        return self.path.as_posix()

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return self.path.stem

    @property
    def key(self) -> str:
        """What tells it from every other file."""
        return self.path.resolve().as_posix()

    def size_and_version(self) -> tuple[int, str]:
        """Its bytes, and a text that changes when the file does."""
        status = self.path.stat()
        # A copy may keep the size and modification time of the file it replaces. Its inode and its time of
        # change differ, and programs cannot set those.
        changed = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        return status.st_size, " ".join(map(str, (status.st_size, *changed)))

    def with_stream(self, work: Callable[[BinaryIO], Result]) -> Result:
        """Return what `work` makes of the open file, which can seek; LostError if it is not there.

        OSError for what is no regular file: a pipe would be waited for.
        """
        try:
            with open_regular(self.path) as stream:
                return work(stream)
        except FileNotFoundError as error:
            raise LostError("there is no such shard", self.label) from error

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, or fewer where it ends before; LostError if it is not there."""

        def read_there(stream: BinaryIO) -> bytes:
            stream.seek(offset)
            return stream.read(size)

        return self.with_stream(read_there)


@dataclass(frozen=True)
class RemoteFile:
    """An object behind a URL: `https://`, `s3://`, `simplecache::https://` and whatever else fsspec has.

    Every read is one request for a range of bytes, tried again where it fails for a reason that may pass.
    """

    url: str

    def __repr__(self) -> str:
        return f"RemoteFile({self.label!r})"

    @property
    def label(self) -> str:
        """The URL without what may be secret in it: a password, the signature of a signed URL."""
        return source_label(self.url)

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return PurePosixPath(self.label).stem

    @property
    def key(self) -> str:
        """What tells it from every other object; may hold secrets."""
        return self.url

    def size_and_version(self) -> tuple[int, str]:
        """Its bytes, and a text that changes when the object does; "" where nothing tells versions apart.

        OSError where it does not tell the size.
        """
        info = _patiently(self.url, lambda system, path: system.info(path))
        if info.get("size") is None:
            raise ShardError("the server does not say how large it is", self.label)
        told = [str(info[name]) for name in _VERSIONS if info.get(name)]
        # The size alone is not enough: another object may have the same.
        return int(info["size"]), " ".join([str(info["size"]), *told]) if told else ""

    def with_stream(self, work: Callable[[BinaryIO], Result]) -> Result:
        """Return what `work` makes of the open object; begun again where reading fails for a while."""

        def work_there(system: Any, path: str) -> Result:
            if len(system.cat_file(path, 0, 1)) > 1:
                raise ValueError(_NO_RANGES)
            with system.open(path, "rb") as stream:
                return work(stream)

        return _patiently(self.url, work_there)

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, or fewer where it ends before.

        LostError if it is not there, or not to be reached in several attempts.
        """
        data = _patiently(self.url, lambda system, path: system.cat_file(path, offset, offset + size))
        if len(data) > size:
            raise ShardError(_NO_RANGES, self.label)
        return data


def file_system(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path in it.

    Raises:
        ValueError: the URL is of a kind that is not known here; names the package that is missing.
    """
    try:
        return url_to_fs(url)
    except ImportError as error:
        raise ValueError(
            f"{source_label(url)}: {without_secrets(str(error), url)}. Install what reads such URLs: "
            "pip install 'fsspec[http]' for https://, 'fsspec[s3]' for s3://, 'fsspec[gcs]' for gs://"
        ) from _printable(error, url)
    except ValueError as error:
        raise ValueError(f"{source_label(url)}: {without_secrets(str(error), url)}") from _printable(
            error, url
        )


def expand_braces(pattern: str) -> list[str]:
    """Return the names that a pattern with braces stands for; without braces, the pattern itself.

    Numbers keep the width of the first one. Several braces give every combination.

    >>> expand_braces("{train,val}-{08..10}.tar")[:4]
    ['train-08.tar', 'train-09.tar', 'train-10.tar', 'val-08.tar']
    """
    choices: list[list[str]] = []
    for number, text in enumerate(_PATTERN.split(pattern)):
        found = _RANGE.fullmatch(text)
        if number % 2 == 0:
            choices.append([text])
        elif found:
            first, last = int(found[1]), int(found[2])
            if last < first:
                raise ValueError(
                    f"{source_label(pattern)}: {{{text}}} runs backwards; write the smaller number first"
                )
            choices.append([str(one).zfill(len(found[1])) for one in range(first, last + 1)])
        else:
            choices.append(text.split(","))
    return ["".join(parts) for parts in itertools.product(*choices)]


def expand_paths(pattern: str) -> list[str]:
    """Return the paths that braces and (of existing files) globs stand for, sorted within each glob."""
    paths = []
    for path in expand_braces(pattern):
        # Path.glob takes no absolute patterns.
        paths += sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else [path]  # noqa: PTH207
    return paths


def expand_urls(pattern: str) -> list[str]:
    """Return the URLs that braces and `*` stand for; what `*` finds is asked of the store, and sorted.

    FileNotFoundError where the store, or the folder in it, is not to be reached.
    """
    urls = []
    for url in expand_braces(pattern):
        if "*" not in url:
            urls.append(url)
            continue
        chain, _, last = url.rpartition("::")
        try:
            found = _patiently(last, lambda system, path: [*map(system.unstrip_protocol, system.glob(path))])
        except LostError as error:
            raise FileNotFoundError(str(error)) from error
        urls += [f"{chain}::{one}" if chain else one for one in sorted(found)]
    return urls


def _patiently(url: str, work: Callable[[Any, str], Result]) -> Result:
    """Return what `work` makes of the URL's file system and path, tried again where that may help.

    Raises:
        LostError: it is not there, or was not reached in several attempts.
        ShardError: trying again cannot help.
    """
    system, path = file_system(url)
    label = source_label(url)
    for wait in (*WAITS, None):
        try:
            return work(system, path)
        except Exception as error:  # every store has exceptions of its own
            reason = _reason(error)
            cause = _printable(error, url)
            if isinstance(reason, FileNotFoundError):
                raise LostError("there is no such shard", label) from cause
            told = without_secrets(str(reason), url) or type(reason).__name__
            if _is_final(reason):
                raise ShardError(told, label) from cause
            if wait is None:
                raise LostError(f"{told} (tried {len(WAITS) + 1} times)", label) from cause
            logger.info("%s: %s; trying again in %g s", label, told, wait)
            time.sleep(wait)
    raise AssertionError("unreachable")


def _printable(error: Exception, url: str) -> Exception | None:
    """Return the error, where nothing secret is printed with it and with what led to it."""
    text = "".join(traceback.format_exception(error))
    return error if without_secrets(text, url) == text else None


def _reason(error: BaseException) -> BaseException:
    """Return the error behind an error: over HTTP fsspec calls every failure a file that is not there."""
    while isinstance(error, FileNotFoundError):
        hidden = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        # Stores raise LookupError where a name is not in their own table.
        if hidden is None or isinstance(hidden, LookupError) or _status(hidden) in (404, 410):
            break
        error = hidden
    return error


def _is_final(error: BaseException) -> bool:
    """Return whether asking once more cannot help."""
    status = _status(error)  # the answers 4xx say that the question was wrong
    if status is not None:
        return 400 <= status < 500 and status not in (408, 425, 429)
    return isinstance(
        error, PermissionError | IsADirectoryError | NotImplementedError | ValueError | TypeError
    )


def _status(error: BaseException) -> int | None:
    """Return the HTTP status behind an error, as aiohttp, Azure's or Amazon's library keeps it."""
    status = getattr(error, "status", getattr(error, "status_code", None))
    answer = getattr(error, "response", None)
    if status is None and isinstance(answer, dict):
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None
