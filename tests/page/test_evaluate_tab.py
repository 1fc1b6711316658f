"""How scores are shown on the Evaluate tab."""

from __future__ import annotations

from inpaint.page.evaluate_tab import score_table


def test_the_score_table_marks_the_best() -> None:
    table = score_table(
        {
            "ours": {"psnr": 31.234, "psnr_hole": 20.0, "ssim": None},
            "Telea": {"psnr": 30.0, "psnr_hole": 21.5, "ssim": None},
        }
    )
    lines = table.splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|") == 5
    assert lines[2] == "| ours | **31.23** | 20.00 | – |"
    assert lines[3] == "| Telea | 30.00 | **21.50** | – |"
