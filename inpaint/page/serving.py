"""Serving the page: its look, which Gradio takes when it starts to serve, and the server's settings."""

from __future__ import annotations

import importlib.resources
import socket

import gradio as gr

from inpaint.page.canvas import LARGEST_CANVAS_FILE
from inpaint.page.limits import Limits

THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="slate",
    radius_size="md",
    font=["system-ui", "-apple-system", "Segoe UI", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
)
"""Fonts are the machine's own, so that none is fetched from another host."""

_STATIC = importlib.resources.files("inpaint.page") / "static"

STYLE = (_STATIC / "page.css").read_text("utf-8")
PASTE = (_STATIC / "paste.js").read_text("utf-8")


def serve(page: gr.Blocks, host: str = "127.0.0.1", port: int = 7860, limits: Limits | None = None) -> str:
    """Start serving the page in the background.

    Args:
        page: what `build_page` returned.
        host: address to listen on.
        port: port to listen on.
        limits: the same that the page was built with.

    Returns:
        The page's address.

    Raises:
        OSError: the port is taken, or the host is not this machine's.
    """
    limits = limits or Limits()
    # Gradio tries the port on localhost only, and its own message advises variables that nobody set.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        prevent_thread_lock=True,
        quiet=True,
        theme=THEME,
        css=STYLE,
        js=PASTE,
        # It also bounds what the editor sends; `read_upload` checks the limit of photos.
        max_file_size=max(limits.file_bytes, LARGEST_CANVAS_FILE),
        state_session_capacity=limits.sessions,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
    )
    return address
