"""What other programs are given to fill, and the manifest that says what it was."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

import inpaint
from inpaint.datasets import open_photos
from inpaint.evaluation import Case, EvaluationSet, export_cases
from inpaint.evaluation.export import Manifest, ManifestError
from inpaint.files import NotRegularError


def cases(count=4, size=32):
    rng = np.random.default_rng(0)
    for index in range(count):
        mask = np.zeros((size, size), bool)
        mask[2 : 6 + 5 * index, 3:20] = True
        yield Case(f"set/{index}.jpg", rng.integers(0, 256, (size, size, 3), dtype=np.uint8), mask)


def test_export_holds_what_methods_see(tmp_path):
    export_cases(cases(), tmp_path)
    for case in cases():
        stem = case.name.split("/")[1].removesuffix(".jpg")
        image = np.asarray(Image.open(tmp_path / "images" / f"{stem}.png"))
        mask = np.asarray(Image.open(tmp_path / "masks" / f"{stem}.png").convert("L"))
        np.testing.assert_array_equal(image, case.destroyed())
        np.testing.assert_array_equal(mask, case.mask * np.uint8(255))


def test_export_refuses_to_merge_two_photos(tmp_path):
    first = next(iter(cases(1)))
    with pytest.raises(ValueError, match=r"set/0.jpg and other/0.png would be exported to one file"):
        export_cases([first, Case("other/0.png", first.image, first.mask)], tmp_path)


def test_the_manifest_names_settings_photos_and_holes(tmp_path):
    for name in ("a", "b"):
        picture = np.random.default_rng(len(name)).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "photos" / f"{name}.png")
    chosen = EvaluationSet(open_photos(tmp_path / "photos"), "box:0.1-0.3", seed=5, size=32)
    leftover = tmp_path / "out" / ".manifest.json.0123abcd.partial"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    export_cases(chosen, tmp_path / "out")
    assert not leftover.exists()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["masks"], manifest["seed"], manifest["size"]) == ("box:0.1-0.3", 5, 32)
    assert manifest["version"] == inpaint.__version__
    assert list(manifest["photos"]) == ["a.png", "b.png"]
    for name, entry in manifest["photos"].items():
        # Worked out again from the files: the photo's centre, and the mask as it was written.
        crop = np.asarray(Image.open(tmp_path / "photos" / name))[4:36, 9:41]
        assert entry["photo_sha256"] == hashlib.sha256(crop.tobytes()).hexdigest()
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / entry["file"]).convert("L"))
        assert entry["mask_sha256"] == hashlib.sha256(mask.tobytes()).hexdigest()
    read = Manifest.read(tmp_path / "out" / "manifest.json")
    for case in chosen:
        read.check(case, chosen.describe())


def test_names_that_are_no_utf8_come_back(tmp_path):
    case = next(cases())
    export_cases([Case("lat\udce9in.jpg", case.image, case.mask)], tmp_path)
    manifest = Manifest.read(tmp_path / "manifest.json")
    assert list(manifest.photos) == ["lat\udce9in.jpg"]
    assert manifest.settings == {"masks": None, "seed": None, "size": None}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"torn",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b"null",
        b'{"format": "another"}',
        b'{"format": "carafe-inpaint export 1"}',
        b'{"format": "carafe-inpaint export 1", "masks": "", "seed": 0, "size": 1, "photos": []}',
        b'{"format": "carafe-inpaint export 1", "masks": "", "seed": 0, "size": 1, "photos": {"a": {}}}',
        b'{"format": "carafe-inpaint export 1", "masks": "", "seed": 0, "size": 1, "photos": {"a": 1}}',
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ManifestError, match=r"manifest\.json: is no manifest"):
        Manifest.read(tmp_path / "manifest.json")
    with pytest.raises(NotRegularError):
        Manifest.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        Manifest.read(tmp_path / "nowhere")
