"""`python -m inpaint`, the same as the `inpaint` command."""

import sys

from inpaint.cli import main

sys.exit(main())
