"""The limits of the service: one table of names, flags, environment variables, defaults and reasons."""

from __future__ import annotations

import argparse
import dataclasses
import ipaddress
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "INPAINT_"
SHORTEST_SECRET = 12
"""Characters that a token or password has at least; shorter ones can be guessed."""


class LimitValueError(ValueError):
    """A flag or environment variable with a value that makes no sense."""


DEFAULT_MEGAPIXELS = 40.0


def request_megabytes(megapixels: float) -> float:
    """Return the largest request that a photo of so many megapixels can need.

    The page sends the photo as it was chosen, and with it a fill without loss: a PNG of what may be noise,
    three bytes a pixel.

    >>> request_megabytes(40)
    184.0
    """
    return 64.0 + 3.0 * megapixels


def _limit(default: Any, reason: str) -> Any:
    return dataclasses.field(default=default, metadata={"reason": reason})


@dataclass(frozen=True)
class Limits:
    """What the service takes on. Each limit can be raised and lowered, none can be switched off.

    The reason of each stands beside it, and `table` lists them.

    Raises:
        LimitValueError: a number is not above 0, or a text cannot be read.
    """

    max_megabytes: float = _limit(
        request_megabytes(DEFAULT_MEGAPIXELS),
        "largest request, all its files together; refused before it is read. By default 64 and 3 for each "
        "megapixel of --max-megapixels",
    )
    max_megapixels: float = _limit(DEFAULT_MEGAPIXELS, "largest photo; refused before it is decoded")
    upload_megabytes: float = _limit(
        1500.0, "uploads of all jobs that wait or are being received; more are answered 429"
    )
    waiting: int = _limit(32, "jobs that wait or are being received, of all clients; more are answered 429")
    jobs_per_client: int = _limit(4, "jobs of one client that wait, run or are being received")
    job_seconds: float = _limit(300.0, "longest time that one job may run; then it is ended")
    header_seconds: float = _limit(10.0, "longest time for a request's headers to arrive")
    body_seconds: float = _limit(120.0, "longest time for a request's body to arrive")
    stall_seconds: float = _limit(20.0, "longest time without a byte sent by a client, or taken by it")
    connections: int = _limit(200, "open connections of all clients; more are answered 503")
    connections_per_client: int = _limit(24, "open connections of one address; trusted proxies are exempt")
    result_megabytes: float = _limit(1000.0, "finished results kept on disk; the oldest go first")
    result_seconds: float = _limit(900.0, "how long a finished result is kept")
    memory_megabytes: float = _limit(8000.0, "memory of the filling process; a job that takes more is ended")
    idle_megabytes: float = _limit(2500.0, "memory of the process after a job, above which it is replaced")
    jobs_per_process: int = _limit(500, "jobs after which the filling process is replaced")
    shutdown_seconds: float = _limit(30.0, "time that jobs have to finish when the service is stopped")
    allowed_hosts: str = _limit(
        "",
        "host names in use, with commas; besides localhost and the address it is bound to. *.example.org, *",
    )
    trusted_proxies: str = _limit("", "addresses or networks, with commas, whose X-Forwarded-For is believed")
    auth: str = _limit(
        "",
        "tokens or name:password pairs, with commas, or @FILE with one a line; empty: no one has to sign in",
    )
    root_path: str = _limit("", "path under which a proxy shows the service, such as /inpaint")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str) and not (math.isfinite(value) and value > 0):
                raise LimitValueError(f"{flag(field.name)} {value}: has to be a number above 0")
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise LimitValueError(f"{flag('root_path')} {self.root_path}: has to be like /inpaint")
        self.secrets()
        self.proxies()

    @property
    def max_bytes(self) -> int:
        """Bytes of the largest request."""
        return round(self.max_megabytes * 1e6)

    @property
    def max_pixels(self) -> int:
        """Pixels of the largest photo."""
        return round(self.max_megapixels * 1e6)

    def hosts(self) -> list[str]:
        """Return the host names that the administrator allows, in lower case."""
        return [word.lower() for word in _words(self.allowed_hosts)]

    def proxies(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """Return the networks whose `X-Forwarded-For` is believed."""
        try:
            return [ipaddress.ip_network(word, strict=False) for word in _words(self.trusted_proxies)]
        except ValueError as error:
            raise LimitValueError(
                f"{flag('trusted_proxies')}: {error}; name addresses such as 10.0.0.1 or 10.0.0.0/8"
            ) from None

    def secrets(self) -> list[str]:
        """Return the tokens and `name:password` pairs; one of them is asked for where there are any."""
        text = self.auth
        if text.startswith("@"):
            try:
                text = Path(text[1:]).read_text("utf-8").replace("\n", ",")
            except (OSError, UnicodeDecodeError) as error:
                raise LimitValueError(f"{flag('auth')} {self.auth}: cannot be read ({error})") from None
        secrets = _words(text)
        if self.auth and not secrets:
            raise LimitValueError(f"{flag('auth')}: names no token")
        if any(len(secret.partition(":")[2] or secret) < SHORTEST_SECRET for secret in secrets):
            # The secret itself is not repeated: messages end up in logs.
            raise LimitValueError(
                f"{flag('auth')}: a token or password has fewer than {SHORTEST_SECRET} characters; make one "
                "with: python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        return secrets


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def flag(name: str) -> str:
    """Return a limit's flag.

    >>> flag("max_megabytes")
    '--max-megabytes'
    """
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return a limit's environment variable.

    >>> variable("max_megabytes")
    'INPAINT_MAX_MEGABYTES'
    """
    return PREFIX + name.upper()


def table() -> list[tuple[str, str, str, str]]:
    """Return flag, environment variable, default and reason of every limit."""
    rows = []
    for field in dataclasses.fields(Limits):
        default = field.default if isinstance(field.default, str) else f"{field.default:g}"
        rows.append((flag(field.name), variable(field.name), str(default), field.metadata["reason"]))
    return rows


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every limit; what is not given there comes from the environment, or is the default."""
    group = parser.add_argument_group(
        "limits", "each also as an environment variable, as INPAINT_MAX_MEGABYTES"
    )
    for field in dataclasses.fields(Limits):
        default = f" (default: {field.default:g})" if not isinstance(field.default, str) else ""
        group.add_argument(
            flag(field.name),
            type=_kind(field),
            default=None,
            metavar="TEXT" if isinstance(field.default, str) else "N",
            help=field.metadata["reason"].replace("%", "%%") + default,
        )


def from_arguments(arguments: argparse.Namespace, environment: Mapping[str, str] | None = None) -> Limits:
    """Return the limits that flags, the environment and the defaults give, in this order.

    Args:
        arguments: what a parser with `add_flags` made.
        environment: the variables; by default the process's own.

    Raises:
        LimitValueError: a variable or flag has a value that makes no sense; the message names it.
    """
    environment = os.environ if environment is None else environment
    values = {}
    for field in dataclasses.fields(Limits):
        given = getattr(arguments, field.name, None)
        if given is None and variable(field.name) in environment:
            text = environment[variable(field.name)]
            try:
                given = _kind(field)(text)
            except ValueError:
                raise LimitValueError(f"{variable(field.name)}={text}: has to be a number") from None
        if given is not None:
            values[field.name] = given
    megapixels = values.get("max_megapixels", 0.0)
    if "max_megabytes" not in values and math.isfinite(megapixels) and megapixels > 0:
        values["max_megabytes"] = request_megabytes(megapixels)
    return Limits(**values)


def _kind(field: dataclasses.Field[Any]) -> Callable[[str], Any]:
    return type(field.default)
