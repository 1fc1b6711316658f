"""What the editor sends, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from gradio.component_meta import ComponentMeta
from PIL import Image

from inpaint.page import editor
from inpaint.page.canvas import CANVAS_SIDE, mask_layer
from inpaint.page.editor import MaskEditor, read_strokes


def read_layers(folder: Path, layers: list[np.ndarray]) -> np.ndarray | None:
    paths = [folder / f"layer_{number}.png" for number in range(len(layers))]
    for path, layer in zip(paths, layers, strict=True):
        Image.fromarray(layer).save(path)
    mask: np.ndarray | None = read_strokes([str(path) for path in paths])
    return mask


def test_painted_layers_give_a_mask(tmp_path: Path) -> None:
    layer = np.zeros((6, 8, 4), np.uint8)
    layer[2:4, 1:5] = (255, 0, 0, 153)
    mask = read_layers(tmp_path, [layer])
    assert mask is not None and mask.dtype == bool
    assert (mask == (layer[..., 3] > 0)).all()
    assert read_layers(tmp_path, []) is None
    assert read_strokes(None) is None


def test_giant_unlike_and_broken_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(gr.Error, match="larger"):
        read_layers(tmp_path, [np.zeros((2, 4 * CANVAS_SIDE + 1, 4), np.uint8)])
    with pytest.raises(gr.Error, match="differ"):
        read_layers(tmp_path, [np.zeros((2, 3, 4), np.uint8), np.zeros((3, 2, 4), np.uint8)])
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "layer_0.png").read_bytes()[:20])
    with pytest.raises(gr.Error, match="arrive"):
        read_strokes([str(cut)])


def test_the_editor_takes_no_blobs() -> None:
    """Gradio's own would keep as many as a client sends, and grow a list to any index it names."""
    editor = MaskEditor()
    assert editor.get_block_name() == "imageeditor"  # what the browser shows it as
    assert editor.accept_blobs._is_server_fn
    with pytest.raises(gr.Error):
        editor.accept_blobs(
            SimpleNamespace(data={"type": "layer", "index": 10**9, "id": "a"}, files=[("", b"")])
        )
    assert editor.blob_storage == {}


def test_no_stub_is_written_beside_the_editor() -> None:
    """Gradio's metaclass writes one for every component; type checkers would read it for the module."""
    assert isinstance(MaskEditor, ComponentMeta)
    assert not Path(editor.__file__).with_suffix(".pyi").exists()


def test_mask_layers_come_back_as_they_went(tmp_path: Path, rng: np.random.Generator) -> None:
    mask = rng.random((33, 47)) < 0.5
    assert (read_layers(tmp_path, [mask_layer(mask)]) == mask).all()
