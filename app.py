"""Serve the page and the REST API: the same as `inpaint serve`.

    python app.py                                   # http://127.0.0.1:7860
    python app.py --port 8000 --device cpu
    python app.py --model path/to/model/folder      # beside the installed models
    python app.py --host 0.0.0.0 --max-megapixels 12

The page itself is the package `inpaint.page`, the API `inpaint.serving`.
"""

import sys

from inpaint.cli import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
