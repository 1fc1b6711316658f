"""Where shards lie: files of this machine, or objects behind a URL that fsspec knows how to read."""

from __future__ import annotations

import glob
import itertools
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar

from fsspec.core import url_to_fs

logger = logging.getLogger("inpaint.datasets")

WAITS = (0.5, 2.0, 6.0)
"""Seconds between the attempts to read from a URL. A store that is short of breath recovers in less; one that
is gone should not hold up the run for long."""

_NO_RANGES = "the server does not serve ranges of bytes; put simplecache:: in front of the URL"
_PATTERN = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")

Result = TypeVar("Result")


class LostError(OSError):
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
        return status.st_size, f"{status.st_size} {status.st_mtime_ns}"

    def with_stream(self, work: Callable[[BinaryIO], Result]) -> Result:
        """Return what `work` makes of the open file, which can seek; LostError if it is not there."""
        try:
            with self.path.open("rb") as stream:
                return work(stream)
        except FileNotFoundError as error:
            raise LostError(f"{self.label}: there is no such shard") from error

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

    @property
    def label(self) -> str:
        """The URL without what may be secret in it: a password, the signature of a signed URL."""
        return re.sub(r"//[^/@]*@", "//", self.url.partition("?")[0])

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return PurePosixPath(self.label).stem

    @property
    def key(self) -> str:
        """What tells it from every other object; may hold secrets."""
        return self.url

    def size_and_version(self) -> tuple[int, str]:
        """Its bytes, and a text that changes when the object does, as far as the store tells."""
        info = self._patiently(lambda system, path: system.info(path))
        if info.get("size") is None:
            raise OSError(f"{self.label}: the server does not say how large it is")
        # Stores call it by many names; what they do not know is not there.
        told = ("ETag", "etag", "md5", "generation", "mtime", "LastModified", "last_modified", "created")
        return int(info["size"]), " ".join(str(info[name]) for name in ("size", *told) if name in info)

    def with_stream(self, work: Callable[[BinaryIO], Result]) -> Result:
        """Return what `work` makes of the open object; begun again where reading fails for a while."""

        def work_there(system: Any, path: str) -> Result:
            if len(system.cat_file(path, 0, 1)) > 1:
                raise ValueError(_NO_RANGES)
            with system.open(path, "rb") as stream:
                return work(stream)

        return self._patiently(work_there)

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, or fewer where it ends before.

        LostError if it is not there, or not to be reached in several attempts.
        """
        data = self._patiently(lambda system, path: system.cat_file(path, offset, offset + size))
        if len(data) > size:
            raise OSError(f"{self.label}: {_NO_RANGES}")
        return data

    def _patiently(self, work: Callable[[Any, str], Result]) -> Result:
        system, path = file_system(self.url)
        for wait in (*WAITS, None):
            try:
                return work(system, path)
            except FileNotFoundError as error:
                raise LostError(f"{self.label}: there is no such shard") from error
            except Exception as error:  # every store has exceptions of its own
                reason = f"{self.label}: {error or type(error).__name__}"
                if _is_final(error):
                    raise OSError(reason) from error
                if wait is None:
                    raise LostError(f"{reason} (tried {len(WAITS) + 1} times)") from error
                logger.info("%s; trying again in %g s", reason, wait)
                time.sleep(wait)
        raise AssertionError("unreachable")


def is_url(source: object) -> bool:
    """Whether this is a URL for fsspec and not a path."""
    return isinstance(source, str) and "://" in source


def file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it; ValueError names the package that is missing."""
    try:
        return url_to_fs(url)
    except ImportError as error:
        raise ValueError(
            f"{url}: {error}. Install what reads such URLs: pip install 'fsspec[http]' for https://, "
            "'fsspec[s3]' for s3://, 'fsspec[gcs]' for gs://"
        ) from error
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from error


def expand_braces(pattern: str) -> list[str]:
    """The names that a pattern stands for: `a-{000..012}.tar`, `{train,val}.tar`; without braces, itself.

    Numbers keep the width of the first one. Several braces give every combination.
    """
    choices: list[list[str]] = []
    for number, text in enumerate(_PATTERN.split(pattern)):
        found = _RANGE.fullmatch(text)
        if number % 2 == 0:
            choices.append([text])
        elif found:
            first, last = int(found[1]), int(found[2])
            if last < first:
                raise ValueError(f"{pattern}: {{{text}}} runs backwards; write the smaller number first")
            choices.append([str(one).zfill(len(found[1])) for one in range(first, last + 1)])
        else:
            choices.append(text.split(","))
    return ["".join(parts) for parts in itertools.product(*choices)]


def expand_paths(pattern: str) -> list[str]:
    """The paths that braces and, of existing files, `*`, `?` and `[…]` stand for, sorted within each glob."""
    paths = []
    for path in expand_braces(pattern):
        # Path.glob takes no absolute patterns.
        paths += sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else [path]  # noqa: PTH207
    return paths


def expand_urls(pattern: str) -> list[str]:
    """The URLs that braces and `*` stand for; what `*` finds is asked of the store, and sorted."""
    urls = []
    for url in expand_braces(pattern):
        if "*" not in url:
            urls.append(url)
            continue
        chain, _, last = url.rpartition("::")
        system, path = file_system(last)
        found = sorted(system.unstrip_protocol(one) for one in system.glob(path))
        urls += [f"{chain}::{one}" if chain else one for one in found]
    return urls


def _is_final(error: Exception) -> bool:
    """Whether asking once more cannot help."""
    status = getattr(error, "status", None)  # of aiohttp: the answers 4xx say that the question was wrong
    if isinstance(status, int):
        return 400 <= status < 500 and status not in (408, 425, 429)
    return isinstance(
        error, PermissionError | IsADirectoryError | NotImplementedError | ValueError | TypeError
    )
