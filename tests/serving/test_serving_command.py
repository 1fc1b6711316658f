"""`inpaint serve` and `inpaint doctor`, with a real model and real signals."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import skimage.data
from PIL import ExifTags, Image, ImageCms
from serving_client import png, run_async, wait_for
from starlette.responses import PlainTextResponse

import inpaint
from inpaint.files import NotRegularError
from inpaint.inference import Inpainter
from inpaint.serving import command, doctor
from inpaint.serving.app import create_app
from inpaint.serving.models import Models
from inpaint.terminal import ArgumentParser
from inpaint.weights import WeightsError, find_model

PROGRAM = """
import sys
from inpaint.serving import command
from inpaint.terminal import ArgumentParser
parser = ArgumentParser()
command.add_serve_command(parser.add_subparsers(required=True))
sys.exit(command.run(parser.parse_args()))
"""


def parse(*words: str):
    parser = ArgumentParser(prog="inpaint")
    commands = parser.add_subparsers(dest="command", required=True)
    command.add_serve_command(commands)
    doctor.add_doctor_command(commands)
    return parser.parse_args(words)


Program = tuple[subprocess.Popen[str], httpx.Client, Path]


# --- serve --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--job-seconds", "0"], "--job-seconds"),
        (["--auth", "short"], "--auth"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--host", "203.0.113.77"], "203.0.113.77"),
    ],
)
def test_serve_says_what_is_wrong(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(parse("serve", "--no-page", "--folder", str(tmp_path), *words)) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_port_is_a_port(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("serve", "--port", "70000")
    assert "70000" in capsys.readouterr().err


def test_help_has_every_limit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("serve", "--help")
    text = capsys.readouterr().out
    for word in ("--no-page", "--auth", "--root-path", "--allowed-hosts", "--max-megapixels", "INPAINT_"):
        assert word in text


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The service in a process of its own, with the released models: process, client, folder."""
    folder = tmp_path_factory.mktemp("program")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve", "--no-page", "--port", "0", "--folder", folder],
        env={**os.environ, "PYTHONPATH": str(Path(inpaint.__file__).parents[1])},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address is not None, line
        threading.Thread(target=process.stderr.read, daemon=True).start()
        # One client: each has to read all certificates first.
        with httpx.Client(base_url=address[0], timeout=200) as client:
            wait_for(lambda: client.get("/health").status_code == 200, 200, every=0.3)
            yield process, client, folder
    finally:
        process.kill()
        process.wait()


def test_a_real_fill_keeps_what_the_photo_has(program: Program) -> None:
    _, client, _ = program
    pixels = skimage.data.astronaut()[:192, :256]
    hole = np.zeros(pixels.shape[:2], bool)
    hole[60:100, 80:150] = True
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ann"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", exif=exif, icc_profile=profile)
    files = {
        "image": ("photo.png", stream.getvalue()),
        "mask": ("mask.png", png(hole.astype(np.uint8) * 255)),
    }
    answer = client.post("/api/v1/inpaint", files=files, data={"seed": "3", "grow": "2"})
    assert answer.status_code == 200, answer.text
    result = Image.open(io.BytesIO(answer.content))
    assert (result.format, result.info["icc_profile"]) == ("PNG", profile)
    assert result.getexif()[ExifTags.Base.Artist] == "Ann"
    assert np.array_equal(np.asarray(result)[:50], pixels[:50])
    expected = Inpainter.from_pretrained("pconv-carafe")(pixels, hole, seed=3, grow=2)
    assert np.array_equal(np.asarray(result), expected)
    data = {"detail": "none", "format": "jpeg", "model": "pconv-carafe-sharp"}
    answer = client.post("/api/v1/inpaint", files=files, data=data)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(answer.content)).size == (256, 192)


def test_it_is_stopped_without_losing_a_job(program: Program) -> None:
    process, client, folder = program
    hole = np.zeros((512, 512), np.uint8)
    hole[200:300, 200:300] = 255
    files = {"image": ("a.png", png(skimage.data.astronaut())), "mask": ("b.png", png(hole))}
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(client.post("/api/v1/inpaint", files=files)))
    thread.start()
    wait_for(lambda: client.get("/health").json()["running"] == 1)
    process.send_signal(signal.SIGTERM)
    thread.join(60)
    assert [answer.status_code for answer in answers] == [200]
    assert process.wait(30) == 0
    assert list(folder.iterdir()) == []


def test_models_of_the_administrator() -> None:
    folder = find_model("pconv-carafe").parent
    assert Models().default == "pconv-carafe"
    assert Models(["pconv-carafe-sharp"]).default == "pconv-carafe-sharp"
    with pytest.raises(ValueError, match="same name"):
        Models([str(folder)])
    with pytest.raises(WeightsError):
        Models(["no-such-model"])


def test_a_page_is_mounted_beside_the_api() -> None:
    app = create_app(mount=lambda app: app.mount("/", PlainTextResponse("a page")))

    async def ask(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    try:
        page = run_async(ask("/"))
        assert page.text == "a page"
        assert page.headers["content-security-policy"] == "frame-ancestors 'none'"
        assert run_async(ask("/api/v1/models")).json()["models"]
        assert "/" not in run_async(ask("/openapi.json")).json()["paths"]
    finally:
        app.state.service.close()


# --- doctor -------------------------------------------------------------------------------------------------


def test_doctor_finds_this_installation_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(parse("doctor")) == 0
    text = capsys.readouterr().out
    for word in ("torch", "operator", "pconv-carafe", "memory", "cache"):
        assert word in text
    assert "missing" not in [line.split()[0] for line in text.splitlines()]


def test_doctor_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(folder: Path) -> None:
        raise NotRegularError(13, "Permission denied")

    monkeypatch.setattr("inpaint.weights.models_folder", lambda: tmp_path)
    monkeypatch.setattr(doctor, "prepare_folder", refuse)
    monkeypatch.setattr(doctor, "_free_memory", lambda: 1e9)
    monkeypatch.setattr(doctor, "OPTIONAL", {"no-such-package": "nothing"})
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert doctor.run() == 1
    text = capsys.readouterr().out
    for word in ("INPAINT_CACHE_DIR", "apt install g++", "pip install no-such-package", "close programs"):
        assert f"-> {word}" in text or word in text
    assert text.count("missing") >= 3


def test_doctor_goes_on_where_a_check_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Iterator[doctor.Finding]:
        raise RuntimeError("broken")
        yield

    monkeypatch.setattr(doctor, "_operator", fail)
    findings = list(doctor.examine())
    assert [finding.text for finding in findings if finding.name == "operator"] == [
        "cannot be found out (RuntimeError: broken)"
    ]
    assert findings[-1].name == "temporary"
