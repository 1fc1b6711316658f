"""The page on an application, beside the REST API: its look, and the settings of Gradio."""

from __future__ import annotations

import re
from collections.abc import Callable

import gradio as gr
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from inpaint.page.comparing import add_comparison
from inpaint.page.page import build_page
from inpaint.page.routes import PATH, STATIC, add_routes
from inpaint.page.tracing import add_tracing
from inpaint.serving.app import Service
from inpaint.serving.middleware import path_of

THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="slate",
    radius_size="md",
    font=["system-ui", "-apple-system", "Segoe UI", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
)
"""Fonts are the machine's own, so that none is fetched from another host."""

SHOWN = re.compile(r"/|/theme\.css|/favicon\.ico|/(assets|static)/[^:]+")
"""Paths of Gradio that the page is made of. No other is served: not its queue, its uploads or its API."""

STYLES = ("canvas/canvas.css", "flow/flow.css", "flow/evaluate.css", "flow/trace.css")

STYLE = (STATIC / "page.css").read_text("utf-8")


def head(root_path: str = "") -> str:
    """Return what the page's head holds: the script of the tabs, and their styles.

    The styles are nested in the tabs' elements: Gradio has rules for every button and input within the page,
    which would outweigh theirs.
    """
    styles = "\n".join((STATIC / name).read_text("utf-8") for name in STYLES)
    return (
        f"<style>#flow, #batch, #evaluate, #trace {{\n{styles}\n}}</style>"
        f'<script type="module" src="{root_path}{PATH}/flow/index.js"></script>'
    )


def mount_page(service: Service) -> Callable[[FastAPI], object]:
    """Return what mounts the page of a service at `/`, for `inpaint.serving.app.create_app`."""

    def mount(app: FastAPI) -> None:
        desk = service.side_work("inpaint.page.desk:work", "picture")
        comparing = service.side_work("inpaint.page.comparison:work", "comparison")
        tracing = service.side_work("inpaint.page.tracing:work", "trace", service.model_settings)
        add_comparison(app, service, comparing)
        add_tracing(app, service, tracing)
        add_routes(app, service.limits, desk)  # last: it has a folder of files under the same path
        gr.mount_gradio_app(
            app,
            build_page(service),
            path="/",
            footer_links=[],
            run_history=False,
            root_path=service.limits.root_path or None,
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            mcp_server=False,
            theme=THEME,
            css=STYLE,
            head=head(service.limits.root_path),
        )
        mounted = app.routes[-1]
        assert isinstance(mounted, Mount)
        mounted.app = _Shown(mounted.app)

    return mount


class _Shown:
    """Gradio's application without all that the page is not made of."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on.

        Raises:
            HTTPException: (404) the page is not made of this.
        """
        if scope["method"] not in ("GET", "HEAD") or not SHOWN.fullmatch(path_of(scope)):
            raise HTTPException(404)
        await self._app(scope, receive, send)
