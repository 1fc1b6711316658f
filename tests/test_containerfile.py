"""The Containerfile, as far as it can be checked without building it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from inpaint.serving import command
from inpaint.terminal import ArgumentParser

ROOT = Path(__file__).parent.parent


def instructions() -> list[tuple[str, str]]:
    """Instruction and argument of every line, continued lines put together, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Containerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(words[0], words[2].strip()) for line in lines if (words := line.partition(" "))[0]]


def copied() -> list[str]:
    """What is copied from the checkout."""
    arguments = [text for name, text in instructions() if name == "COPY" and not text.startswith("--from")]
    return [source for text in arguments for source in text.split()[:-1]]


def test_what_is_copied_is_there_and_nothing_else_is_sent_to_the_builder() -> None:
    assert {"inpaint", "csrc", "models", "requirements.txt", "pyproject.toml", "setup.py"} <= set(copied())
    for source in copied():
        assert (ROOT / source).exists(), source
    # `*` and then what is excepted: what is not named stays out, as .venv, runs, data and tests do.
    first, *others = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"
    ]
    assert first == "*"
    assert {line[1:] for line in others if line.startswith("!")} == set(copied())
    assert "**/__pycache__" in others


def test_it_runs_without_rights_and_starts_what_there_is() -> None:
    lines = instructions()
    last = max(index for index, (name, _) in enumerate(lines) if name == "FROM")
    final = lines[last:]
    (user,) = [text for name, text in final if name == "USER"]
    assert user.isdigit() and int(user) > 0
    assert any(name == "RUN" and f"--uid {user}" in text for name, text in final)
    assert [name for name, _ in final].index("USER") < [name for name, _ in final].index("ENTRYPOINT")
    words = {name: json.loads(text) for name, text in final if name in ("ENTRYPOINT", "CMD")}
    program, *arguments = words["ENTRYPOINT"] + words["CMD"]
    assert program == "inpaint"
    parser = ArgumentParser()
    command.add_serve_command(parser.add_subparsers(required=True))
    served = parser.parse_args(arguments)
    assert (served.host, served.no_page) == ("0.0.0.0", True)


def test_both_stages_have_one_python() -> None:
    images = [text.split()[0] for name, text in instructions() if name == "FROM"]
    assert len(set(images)) == 1  # the environment is copied with links into its Python


def test_opencv_needs_no_window_system() -> None:
    """opencv-python needs libGL and libX11, which the image does not have."""
    (run,) = [text for name, text in instructions() if "--requirement" in text]
    pattern, replacement = re.search(r"sed 's/(.*?)/(.*?)/'", run).groups()
    text = re.sub(pattern, replacement, (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)
    assert re.findall(r"^opencv.*?(?=>)", text, re.MULTILINE) == ["opencv-python-headless"]
    assert "--requirement headless.txt" in run
