"""Files of unknown origin at every door of the program: an eighth of those that `make soak` takes."""

import subprocess
import sys
from pathlib import Path

import pytest
from hostile.corpus import corpus, difference

from inpaint.images import SUFFIXES

SOAK = Path(__file__).with_name("soak.py")


def test_the_corpus_is_large_and_the_same_in_every_run():
    inputs, again = corpus(), corpus()
    assert len(inputs) >= 300
    assert len({Path(one.name).stem for one in inputs}) == len(inputs)
    assert {Path(one.name).suffix.lower() for one in inputs} == set(SUFFIXES) - {".jpeg", ".tiff"}
    for one, other in zip(inputs, again, strict=True):
        assert (one.name, one.data) == (other.name, other.data)
        assert not one.is_whole or one.pixels is not None
        assert one.pixels is None or difference(one.pixels, other.pixels) is None


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and told in other ways elsewhere")
def test_a_part_of_it_is_refused_by_name_or_read_rightly():
    done = subprocess.run(
        [sys.executable, str(SOAK), "--every", "8"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("\n0 wrong\n")
