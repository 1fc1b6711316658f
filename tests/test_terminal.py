"""Names of files on a terminal: shown, never obeyed."""

import logging
import sys

import pytest

from inpaint.terminal import ArgumentParser, Formatter, printable, printable_lines


@pytest.mark.parametrize(
    "text, shown",
    [
        ("photo 1 – Ωμέγα – 写真 – 👩\u200d🎨.png", "photo 1 – Ωμέγα – 写真 – 👩\u200d🎨.png"),
        ("\x1b[2J\x1b]0;title\x07.png", r"\x1b[2J\x1b]0;title\x07.png"),
        ("a\nerror: b\r\tc", r"a\nerror: b\r\tc"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("gpj.\u202egnp", r"gpj.\u202egnp"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("lat\udce9in", r"lat\udce9in"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text, shown):
    assert printable(text) == shown


def test_lines_stay_lines():
    assert printable_lines("two\nlines\x1b") == "two\nlines\\x1b"


def test_usage_errors_and_logs_are_printable(capsys):
    with pytest.raises(SystemExit) as stop:
        ArgumentParser(prog="x").parse_args(["\x1b[31m"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said and r"\x1b[31m" in said
    try:
        raise ValueError("\x1b]")
    except ValueError:
        record = logging.LogRecord("x", logging.INFO, "f", 1, "of %s\n  b", ("\x1b[1m",), sys.exc_info())
    text = Formatter("%(message)s").format(record)
    assert "\x1b" not in text and text.startswith("of \\x1b[1m\n  b\nTraceback")
