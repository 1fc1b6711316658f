"""Errors that are shown to the visitor in a message box."""

from __future__ import annotations

import html

import gradio as gr

from inpaint.images import ImageError


def refusal(message: str) -> gr.Error:
    """Return an error to raise that shows a message, and prints no traceback on the server."""
    return gr.Error(message, print_exception=False)


def reason(error: Exception) -> str:
    """Return an error's reason as HTML, which is what message boxes show, without the name of the file."""
    # `str` of a `LimitError` also advises to raise the limit, which a visitor cannot.
    return html.escape(error.reason if isinstance(error, ImageError) else str(error))
