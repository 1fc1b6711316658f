"""The page as a whole, the routes beside it, and the package that it is."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from page_server import page_served

import inpaint
from inpaint.page import mounting
from inpaint.page.routes import STATIC
from inpaint.serving.limits import Limits

SECRET = "a-token-of-some-length"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a page that asks for a token and lies under a path of a proxy."""
    folder = tmp_path_factory.mktemp("page")
    limits = Limits(auth=SECRET, root_path="/inpaint", max_megapixels=1)
    with (
        page_served(folder, limits) as served,
        httpx.Client(base_url=served.address, auth=("", SECRET), timeout=60) as client,
    ):
        yield client


def test_the_page_and_the_api_are_one_application(client: httpx.Client) -> None:
    page = client.get("/").text
    assert "/inpaint/page/flow/index.js" in page
    assert client.get("/health").json()["status"] == "ready"
    assert client.get("/api/v1/models").json()["models"]
    assert "/page/save" not in client.get("/openapi.json").text


@pytest.mark.parametrize("path", ["/", "/page/flow/index.js", "/api/v1/models", "/page/examples/coffee.png"])
def test_the_token_holds_for_all_of_it(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200
    assert client.get(path, auth=None).status_code == 401


def test_the_log_has_the_paths_that_were_asked_for(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="inpaint.access"):
        client.get("/page/flow/index.js")
        client.get("/page/flow/flow.js")  # by then, the first is written
    assert " /page/flow/index.js 200" in caplog.text


def test_scripts_are_asked_for_anew_after_an_update(client: httpx.Client) -> None:
    answer = client.get("/page/canvas/index.js")
    assert answer.headers["cache-control"] == "no-cache"
    assert "javascript" in answer.headers["content-type"]
    again = client.get("/page/canvas/index.js", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_only_the_examples_are_served(client: httpx.Client) -> None:
    for name in ("moon.png", "..%2f__init__.py", "nothing"):
        assert client.get(f"/page/examples/{name}").status_code == 404


@pytest.mark.parametrize(
    ("path", "files", "status", "words"),
    [
        ("show", {}, 422, "no file named photo"),
        ("show", {"photo": b"II*\0 and nothing more"}, 415, "The photo cannot be read"),
        ("save", {"photo": b"GIF8"}, 422, "no file named fill"),
    ],
)
def test_files_that_cannot_be_used(
    client: httpx.Client, path: str, files: dict[str, bytes], status: int, words: str
) -> None:
    sent = {name: (name, data) for name, data in files.items()} or {"other": ("other", b"1")}
    answer = client.post(f"/page/{path}", files=sent)
    assert answer.status_code == status
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[
            ("GET", path)
            for path in ("/config", "/gradio_api/info", "/gradio_api/queue/data", "/file=app.py")
        ],
        *[("GET", path) for path in ("/gradio_api/heartbeat/1", "/gradio_api/startup-events", "/monitoring")],
        *[("POST", f"/gradio_api/{path}") for path in ("upload", "queue/join", "cancel", "component_server")],
        *[(method, "/") for method in ("POST", "PUT", "DELETE", "OPTIONS")],
    ],
)
def test_of_gradio_only_what_the_page_is_made_of_is_served(
    client: httpx.Client, method: str, path: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("There is nothing at this address")


def test_what_the_page_is_made_of_is_served(client: httpx.Client) -> None:
    found = set(re.findall(r"(?:src|href)=\"\.?((?:/inpaint)?/[^\"]+)\"", client.get("/").text))
    own = {path.removeprefix("/inpaint") for path in found if "/assets/" in path}
    assert len(own) > 1
    for path in own:
        assert client.get(path).status_code == 200, path


def test_the_page_names_no_other_host() -> None:
    assert mounting.THEME._stylesheets == []
    texts = {path: path.read_text("utf-8") for path in STATIC.rglob("*") if path.suffix in (".js", ".css")}
    assert len(texts) > 30
    for path, text in texts.items():
        hosts = set(re.findall(r"https?://[^\s\"'`)]+", text))
        assert hosts <= {"http://www.w3.org/2000/svg"}, path  # a name of SVG, which nothing is loaded from
    assert "http" not in mounting.head().replace("https", "http").replace("http://www.w3.org/2000/svg", "")


def test_gradio_is_told_to_report_nothing_before_it_is_imported() -> None:
    code = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "gradio":
            print(os.environ.get("GRADIO_ANALYTICS_ENABLED"))
            sys.exit()

sys.meta_path.insert(0, Watch())
import inpaint.page.desk
assert "torch" not in sys.modules  # the desk's process has no need of either
from inpaint.page import mount_page
"""
    environment = {name: value for name, value in os.environ.items() if name != "GRADIO_ANALYTICS_ENABLED"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"INPAINT_OPS": "reference"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.stdout == "False\n", result.stderr


def test_only_the_page_imports_gradio() -> None:
    package = Path(inpaint.__file__).parent
    importers = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "gradio" for name in names):
                importers.add(path.relative_to(package).parts[0])
    assert importers == {"page"}
