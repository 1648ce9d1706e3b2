"""Nothing grows: a short run of the soak."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).with_name("pool_soak.py")


def test_nothing_grows_in_some_seconds_of_everything() -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(SOAK), "--duration", "6"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=100)
    finally:
        if process.returncode != 0:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 0, printed
