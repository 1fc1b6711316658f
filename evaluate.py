"""Score inpainting methods side by side on the same photos: the same as `inpaint evaluate`.

    python evaluate.py --images photos --masks free-form:0.1-0.5 --methods telea,ns,harmonic --output runs/a
    python evaluate.py --help

Its flags and its help are those of `inpaint.evaluation.arguments`.
"""

import sys

from inpaint.cli.work import evaluate as main

if __name__ == "__main__":
    sys.exit(main())
