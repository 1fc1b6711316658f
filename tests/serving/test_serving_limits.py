"""Limits: where they come from, and that none is off."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from serving_client import png

from inpaint.serving.limits import Limits, LimitValueError, add_flags, flag, from_arguments, table, variable

ROOT = Path(__file__).resolve().parents[2]


def parsed(*words: str, **environment: str) -> Limits:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return from_arguments(parser.parse_args(words), environment)


def test_flags_override_the_environment_which_overrides_defaults() -> None:
    assert parsed() == Limits()
    assert parsed(INPAINT_WAITING="7").waiting == 7
    assert parsed("--waiting", "9", INPAINT_WAITING="7").waiting == 9
    assert parsed("--max-megabytes", "0.5").max_bytes == 500_000


def test_the_largest_request_grows_with_the_largest_photo() -> None:
    assert parsed("--max-megapixels", "100").max_bytes == 364_000_000
    assert parsed(INPAINT_MAX_MEGAPIXELS="2").max_bytes == 70_000_000
    assert parsed("--max-megapixels", "100", "--max-megabytes", "9").max_bytes == 9_000_000
    with pytest.raises(LimitValueError, match="--max-megapixels"):
        parsed("--max-megapixels", "nan")
    # A photo of 60 MB and, as a PNG, a picture of its size that nothing can make smaller.
    noise = np.random.default_rng(0).integers(0, 256, (800, 1250, 3), dtype=np.uint8)
    assert 60e6 + 40 * len(png(noise)) < Limits().max_bytes


@pytest.mark.parametrize("field", dataclasses.fields(Limits), ids=lambda field: field.name)
def test_no_limit_can_be_switched_off(field: dataclasses.Field) -> None:
    if isinstance(field.default, str):
        return
    assert field.default > 0
    for value in (0, -1, float("inf"), float("nan")):
        with pytest.raises(LimitValueError, match=flag(field.name)):
            Limits(**{field.name: value})


def test_a_variable_that_is_no_number_is_named() -> None:
    with pytest.raises(LimitValueError, match="INPAINT_JOB_SECONDS=soon"):
        parsed(INPAINT_JOB_SECONDS="soon")


def test_secrets(tmp_path: Path) -> None:
    assert parsed().secrets() == []
    assert parsed("--auth", "a-long-token-1, ann:a-long-password").secrets() == [
        "a-long-token-1",
        "ann:a-long-password",
    ]
    file = tmp_path / "tokens"
    file.write_text("a-long-token-1\n\na-long-token-2\n")
    assert parsed(INPAINT_AUTH=f"@{file}").secrets() == ["a-long-token-1", "a-long-token-2"]
    for text in ("short", "ann:short", ",", f"@{tmp_path / 'missing'}"):
        with pytest.raises(LimitValueError, match="--auth") as caught:
            parsed("--auth", text)
        assert text.startswith(("@", ",")) or text not in str(caught.value)


def test_proxies_and_root_path() -> None:
    assert [str(network) for network in Limits(trusted_proxies="10.0.0.0/8, ::1").proxies()] == [
        "10.0.0.0/8",
        "::1/128",
    ]
    for values in (
        {"trusted_proxies": "proxy.example"},
        {"root_path": "inpaint"},
        {"root_path": "/inpaint/"},
    ):
        with pytest.raises(LimitValueError):
            Limits(**values)


def test_the_document_has_the_whole_table() -> None:
    text = (ROOT / "docs" / "service.md").read_text("utf-8")
    for name, environment, default, reason in table():
        assert f"| `{name}` | `{environment}` | {default or '–'} | {reason} |" in text
    assert variable("waiting") == "INPAINT_WAITING"
