"""How events run: keyword arguments for Gradio's event listeners.

The page has no public API, so all events are private. The model serves one run at a time; photos are opened
meanwhile.

Two rules keep the browser from uploading the pictures on the canvas again and again:

- The editor is no input of an event that runs on the server. The browser first picks out the painted layers
  (`Workbench.take_strokes`), and only these are sent.
- An event that sets the editor, or a row that the editor is in, names another widget in `show_progress_on`.
  Otherwise Gradio's front end tells the editor about the progress of every event of the page, and each time
  the editor sends all its pictures to the server.
"""

from __future__ import annotations

from typing import Any

QUIET: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
"""For what may take a moment, such as reading a file."""

AT_ONCE: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
"""For what only changes widgets."""

MODEL: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private"}
"""For what runs a model: one at a time, and the others wait in the queue."""
