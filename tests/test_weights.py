"""Weights files: they rebuild their network, and everything wrong with them is said clearly."""

import json
import resource

import huggingface_hub
import pytest
import safetensors.torch
import torch

from inpaint import weights
from inpaint.networks import build_network
from inpaint.weights import (
    WeightsError,
    find_model,
    installed_models,
    load_weights,
    models_folder,
    save_weights,
)

SMALL = {"network": "PartialConvUNet", "widths": (4, 8), "head_width": 4, "compressed_channels": 4}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network(SMALL)


@pytest.fixture
def models(tmp_path, monkeypatch, network):
    """A models folder with one good model and one whose file is missing."""
    folder = tmp_path / "models"
    for name in ("good", "empty"):
        (folder / name).mkdir(parents=True)
    save_weights(network, folder / "good" / "model.safetensors")
    entries = [
        {"name": "good", "description": "A model.", "parameters": 123, "scores": {"psnr": 24.5}},
        {"name": "empty", "description": "Lost.", "parameters": 1, "scores": {}},
    ]
    (folder / "index.json").write_text(json.dumps({"models": entries}), encoding="utf-8")
    monkeypatch.setattr(weights, "models_folder", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_saved_network_comes_back(network, tmp_path, dtype):
    path = tmp_path / "model.safetensors"
    save_weights(network, path, dtype=dtype, metadata={"data": "some photos"})
    loaded, metadata = load_weights(path)
    assert loaded.config == network.config and not loaded.training
    assert (
        metadata["data"] == "some photos" and json.loads(metadata["config"])["network"] == "PartialConvUNet"
    )
    for name, tensor in network.state_dict().items():
        again = loaded.state_dict()[name]
        assert again.dtype == tensor.dtype
        torch.testing.assert_close(again, tensor.to(dtype).to(tensor.dtype), rtol=0, atol=0)
    image, mask = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., 4:9, 5:11] = 1
    with torch.no_grad():
        difference = (loaded(image, mask) - network.eval()(image, mask)).abs().max()
    assert difference < (1e-2 if dtype == torch.float16 else 1e-7)


def test_half_precision_halves_the_file(network, tmp_path):
    save_weights(network, tmp_path / "half")
    save_weights(network, tmp_path / "full", dtype=torch.float32)
    tensors = safetensors.torch.load_file(tmp_path / "half")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert (tmp_path / "half").stat().st_size < 0.75 * (tmp_path / "full").stat().st_size


def test_integers_keep_their_type(tmp_path):
    network = build_network({**SMALL, "norm": "batch"})
    save_weights(network, tmp_path / "w")
    counts = [t for n, t in safetensors.torch.load_file(tmp_path / "w").items() if "num_batches" in n]
    assert counts and {tensor.dtype for tensor in counts} == {torch.int64}
    load_weights(tmp_path / "w")


def test_saving_fails_whole(network, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_weights(network, path)
    before = path.read_bytes()
    weight = next(network.parameters())
    with torch.no_grad():
        weight[0] = 1e6
    with pytest.raises(WeightsError, match=r"float16.*float32"):
        save_weights(network, path)
    with torch.no_grad():
        weight[0] = float("nan")
    with pytest.raises(WeightsError, match="NaN"):
        save_weights(network, path, dtype=torch.float32)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def rewritten(path, change, **metadata):
    """Write the file again with other tensors or metadata."""
    with safetensors.safe_open(path, framework="pt") as file:
        texts = file.metadata() | metadata
    tensors = safetensors.torch.load_file(path)
    change(tensors)
    safetensors.torch.save_file(tensors, path, texts)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda tensors: tensors.pop("to_image.bias"), r"to_image\.bias is missing"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "extra is not part"),
        (lambda tensors: tensors.update({"to_image.bias": torch.zeros(4)}), r"\(4,\) instead of \(3,\)"),
        (
            lambda tensors: tensors.update({"to_image.bias": torch.zeros(3, dtype=torch.int8)}),
            "int8 instead of",
        ),
        (lambda tensors: tensors["to_image.bias"].add_(1), "damaged"),
    ],
)
def test_tensors_that_do_not_fit(network, tmp_path, change, message):
    path = tmp_path / "model.safetensors"
    save_weights(network, path)
    rewritten(path, change)
    with pytest.raises(WeightsError, match=message) as error:
        load_weights(path)
    assert "model.safetensors" in str(error.value)


NONSENSE = [
    "{",
    '{"network": "Other"}',
    '{"network": "PartialConvUNet", "nope": 1}',
    # What would take gigabytes, or for ever, to build.
    '{"network": "PartialConvUNet", "encoder_blocks": [1000000]}',
    '{"network": "PartialConvUNet", "widths": [200000, 200000]}',
    '{"network": "PartialConvUNet", "kernel_sizes": [100001]}',
    '{"network": "PartialConvUNet", "compressed_share": Infinity}',
    '{"network": "PyramidUNet", "confidence": NaN}',
    '{"network": "GlobalLocal", "dilations": [' + "1," * 1000 + "1]}",
    '{"network": "PartialConvUNet", "widths": ["a", "b"]}',
    "[" * 100_000 + "]" * 100_000,
    '{"network": "PartialConvUNet", "widths": [-4, 8]}',
    '{"network": "PyramidUNet", "head_width": -1}',
    '{"network": "GlobalLocal", "width": "wide"}',
]


@pytest.mark.parametrize("config", NONSENSE, ids=range(len(NONSENSE)))
def test_a_config_that_makes_no_sense(network, tmp_path, config):
    path = tmp_path / "model.safetensors"
    save_weights(network, path)
    rewritten(path, lambda tensors: None, config=config)
    with pytest.raises(WeightsError, match=r"model\.safetensors.*config"):
        load_weights(path)


def test_a_network_that_the_file_has_no_weights_for_takes_no_memory(network, tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(network, path)
    rewritten(path, lambda tensors: None, config=json.dumps({**SMALL, "widths": [8192, 8192, 8192]}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match="tensors do not fit"):
        load_weights(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB; it would be 9 GB


def test_any_flipped_byte_of_the_weights_is_noticed(network, tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(network, path)
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in range(start, len(whole), (len(whole) - start) // 20):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(WeightsError, match="damaged"):
            load_weights(path)
    path.write_bytes(whole)
    load_weights(path)


def test_weights_from_before_the_digest_are_taken(network, tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(network, path)
    rewritten(path, lambda tensors: None, sha256="")
    assert load_weights(path)[0].config == network.config


def test_files_that_are_no_weights(tmp_path, network):
    path = tmp_path / "model.safetensors"
    with pytest.raises(WeightsError, match="no such"):
        load_weights(path)
    save_weights(network, path)
    whole = path.read_bytes()
    for data in (b"", b"\0" * 100, whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=r"model\.safetensors.*safetensors"):
            load_weights(path)
    torch.save(network.state_dict(), path)  # a pickle is not opened
    with pytest.raises(WeightsError, match=r"model\.safetensors.*safetensors"):
        load_weights(path)
    safetensors.torch.save_file({"a": torch.zeros(1)}, path)  # no metadata at all
    with pytest.raises(WeightsError, match="config"):
        load_weights(path)


def test_installed_models_are_those_of_the_index(models):
    good, empty = installed_models()
    assert (good.name, good.folder, good.parameters) == ("good", models / "good", 123)
    assert good.scores == {"psnr": 24.5} and empty.description == "Lost."
    (models / "index.json").write_text("{", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"index\.json"):
        installed_models()
    (models / "index.json").unlink()
    assert installed_models() == []


def test_find_model_by_name_folder_and_file(models, tmp_path):
    file = models / "good" / "model.safetensors"
    assert find_model("good") == file
    assert find_model(models / "good") == file
    assert find_model(str(file)) == file
    with pytest.raises(WeightsError, match=r"empty: holds no model\.safetensors"):
        find_model("empty")
    with pytest.raises(WeightsError, match=r"nowhere.*installed models: good, empty"):
        find_model("nowhere")
    with pytest.raises(WeightsError, match="installed models"):
        find_model("../somewhere/else")


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "a/b/c"])
def test_names_that_no_file_can_have(models, name):
    with pytest.raises(WeightsError, match="installed models: good, empty"):
        find_model(name)


def test_find_model_at_the_hub(models, monkeypatch):
    asked = []

    def hub(*arguments):
        asked.append(arguments)
        return str(models / "good" / "model.safetensors")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    assert find_model("somebody/model") == models / "good" / "model.safetensors"
    assert asked == [("somebody/model", "model.safetensors")]
    local = models.parent / "somebody" / "model"
    local.mkdir(parents=True)
    with pytest.raises(WeightsError, match="holds no"):  # a folder of that name comes first
        find_model("somebody/model")
    assert len(asked) == 1


def test_no_network_is_an_error_that_lists_what_there_is(models, monkeypatch):
    def offline(*_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(WeightsError, match=r"somebody/model.*no route.*installed models: good, empty"):
        find_model("somebody/model")


def test_models_lie_in_the_package_or_beside_it(tmp_path, monkeypatch):
    package = tmp_path / "inpaint"
    package.mkdir()
    monkeypatch.setattr(weights, "__file__", str(package / "weights.py"))
    assert models_folder() == tmp_path / "models"
    (package / "_models").mkdir()
    assert models_folder() == package / "_models"
