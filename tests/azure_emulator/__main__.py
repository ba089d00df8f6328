"""`python -m tests.azure_emulator`: both shipped prompt flows go to an emulated Azure, and the story is printed."""

from __future__ import annotations

import sys

from .demo import main

if __name__ == "__main__":
    sys.exit(main())
