"""The page on an application, beside the REST API: its look, and the settings of Gradio."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import gradio as gr
from fastapi import FastAPI

from inpaint.page.page import build_page
from inpaint.page.routes import PATH, STATIC, Desk, add_routes
from inpaint.serving.app import Service

THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="slate",
    radius_size="md",
    font=["system-ui", "-apple-system", "Segoe UI", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
)
"""Fonts are the machine's own, so that none is fetched from another host."""

STYLE = (STATIC / "page.css").read_text("utf-8")


def head(root_path: str = "") -> str:
    """Return what the page's head holds: the script of the Fill and Batch tabs, and their styles.

    The styles are nested in the tabs' elements: Gradio has rules for every button and input within the page,
    which would outweigh theirs.
    """
    styles = "\n".join((STATIC / name).read_text("utf-8") for name in ("canvas/canvas.css", "flow/flow.css"))
    return (
        f"<style>#flow, #batch {{\n{styles}\n}}</style>"
        f'<script type="module" src="{root_path}{PATH}/flow/index.js"></script>'
    )


def mount_page(service: Service) -> Callable[[FastAPI], object]:
    """Return what mounts the page of a service at `/`, for `inpaint.serving.app.create_app`."""

    def mount(app: FastAPI) -> None:
        desk = Desk(service)
        add_routes(app, desk)
        gr.mount_gradio_app(
            app,
            build_page(service, desk),
            path="/",
            footer_links=[],
            run_history=False,
            root_path=service.limits.root_path or None,
            max_file_size=1,  # nothing is uploaded through Gradio
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            mcp_server=False,
            theme=THEME,
            css=STYLE,
            head=head(service.limits.root_path),
        )
        inner = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[object]:
            try:
                async with inner(app) as state:
                    yield state
            finally:
                desk.close()

        app.router.lifespan_context = lifespan  # type: ignore[assignment]

    return mount
