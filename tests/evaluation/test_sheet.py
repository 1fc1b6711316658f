"""The picture sheet: which images are on it, and what it shows of them."""

import numpy as np
import pytest
from made_cases import keep_input, random_case

from inpaint.evaluation import Case, evaluate, picture_sheet
from inpaint.evaluation.averages import hole_ratio_bin
from inpaint.evaluation.sheet import SheetRow


def test_sheet_rows_are_few_and_spread_over_the_ratios():
    ratios = [0.15] * 20 + [0.25] * 2 + [0.55]
    cases = [random_case(str(i), size=20, ratio=ratio, seed=i) for i, ratio in enumerate(ratios)]
    rows = evaluate({"keep": keep_input}, cases, sheet_rows=5).rows
    kept = [hole_ratio_bin(row.case.hole_ratio) for row in rows]
    assert kept == ["0.1-0.2", "0.1-0.2", "0.2-0.3", "0.2-0.3", "0.5-0.6"]
    backwards = evaluate({"keep": keep_input}, cases[::-1], sheet_rows=5).rows
    assert {row.case.name for row in rows} == {row.case.name for row in backwards}
    np.testing.assert_array_equal(rows[0].fills["keep"], rows[0].case.destroyed())
    assert evaluate({"keep": keep_input}, cases).rows == []
    assert len(evaluate({"keep": keep_input}, cases[:3], sheet_rows=5).rows) == 3


def test_sheet_of_large_pictures_is_shrunk():
    image, mask = np.zeros((1024, 600, 3), np.uint8), np.zeros((1024, 600), bool)
    scores = {"m": {"psnr": 78.1, "psnr_hole": None}}
    sheet = picture_sheet(
        [SheetRow(Case("a name that is far too long" * 9, image, mask), {"m": image}, scores)]
    )
    assert 512 < sheet.height < 600
    assert 4 * 300 < sheet.width < 4 * 320
    with pytest.raises(ValueError, match="at least one row"):
        picture_sheet([])
