"""The flags of `inpaint run`, and what is no value of theirs."""

import subprocess
import sys

import pytest
from command_line import MASK, PHOTO, run, save, usage_error

from inpaint.cli import arguments
from inpaint.inference import inpainter


def test_the_values_of_detail_are_those_of_the_inpainter():
    assert arguments.DETAILS == inpainter.DETAILS


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--seed", "-1", "a whole number from 0 to 9223372036854775807, got '-1'"),
        ("--seed", str(2**63), "a whole number from 0 to"),
        ("--seed", "9" * 5000, "a whole number from 0 to"),
        ("--seed", "0.5", "a whole number from 0 to"),
        ("--grow", "-4", "a whole number from 0 to 1000, got '-4'"),
        ("--grow", "1001", "a whole number from 0 to 1000"),
        ("--candidates", "0", "a whole number from 1 to 99, got '0'"),
        ("--candidates", "100", "a whole number from 1 to 99"),
        ("--detail", "mine", "invalid choice: 'mine'"),
        ("--max-megabytes", "0", "megabytes above 0, such as 500, got '0'"),
        *(
            ("--max-megapixels", value, f"megapixels above 0, such as 50, got {value!r}")
            for value in ("inf", "nan", "1e303", "0", "-1", "many")
        ),
    ],
    ids=lambda part: part[:16],
)
def test_values_that_make_no_sense_are_usage_errors(model, place, capsys, flag, value, expected):
    told = usage_error(capsys, model, "photo.png", "hole.png", "out.png", flag, value)
    assert f"argument {flag}: " in told and expected in told


def test_seeds_end_where_the_last_candidate_has_one(model, place, detail, capsys):
    save("photo.png", PHOTO)
    save("hole.png", MASK)
    last = str(2**63 - 1)
    assert run(model, "photo.png", "hole.png", "out.png", "--seed", last) == 0
    assert detail == [2**63 - 1]
    told = usage_error(capsys, model, "photo.png", "hole.png", "out.png", "--seed", last, "--candidates", "2")
    assert f"--seed {last}: no room for 2 seeds" in told


def test_python_m_inpaint_starts_without_torch():
    code = "import sys, inpaint.cli; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    done = subprocess.run([sys.executable, "-m", "inpaint", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("inpaint ")
