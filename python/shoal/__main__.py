"""`python -m shoal`: run a Python program with multiprocessing meaning shoal."""

from __future__ import annotations

import sys

from shoal._program import main

if __name__ == "__main__":
    main(sys.argv[1:])
