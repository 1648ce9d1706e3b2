"""Make the pictures in docs/images: the counters' windows, on a screen in memory, at twice the usual resolution."""

import os
import sys
import tempfile
from pathlib import Path

from PIL import ImageOps

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/gui"))

from programs import COUNTERS, Program  # noqa: E402
from screen import Screen, wait_until  # noqa: E402

IMAGES = ROOT / "docs/images"

PICTURES = {"counter-gtk4": "gtk4.py", "counter-qt6": "qt6.py"}


def main():
    screen = Screen()
    for name, program in PICTURES.items():
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o700)
            counter = Program(
                screen, Path(folder), [sys.executable, str(COUNTERS / program)], GDK_SCALE="2", QT_SCALE_FACTOR="2"
            )
            wait_until(lambda counter=counter: (counter.number() or 0) > 200, "a number of three digits")
            path = IMAGES / f"{name}.png"
            # A window's frame is its window manager's, and there is none here.
            ImageOps.expand(counter.picture(), border=2, fill="#b0b0b0").save(path, optimize=True)
            counter.press("Escape")
            counter.wait()
            print(f"   {path.relative_to(ROOT)}: {path.stat().st_size} bytes")
    screen.close()


if __name__ == "__main__":
    main()
