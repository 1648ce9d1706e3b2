"""Jobs that hang, crash, or fail now and then, and a pool that gets through them all the same.

    python examples/stubborn_jobs.py

A job may have a time limit: one that takes longer is killed, and its worker is replaced. A job whose worker died, or
that raised an error of a kind that passes, can be tried again. And a job that is running can be cancelled.
"""

import os
import pathlib
import signal
import tempfile
import time
from concurrent.futures import CancelledError

import shoal


def hang():
    time.sleep(3600)


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def fail_twice(folder):
    attempt = len(list(folder.iterdir()))
    (folder / str(attempt)).touch()
    if attempt == 0:
        raise ConnectionError("the server was not there")
    if attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"done at attempt {attempt + 1}"


def report(what, result):
    try:
        print(f"{what}: {result.get()}")
    except (shoal.WorkerDied, shoal.TaskTimeoutError, CancelledError) as error:
        print(f"{what}: {type(error).__name__}")


def main():
    os.environ["SHOAL_FAULTHANDLER"] = "0"  # no trace of the crash, which is meant
    with shoal.Pool(2) as pool, tempfile.TemporaryDirectory() as name:
        hanging = pool.apply_async(hang, timeout=0.5)
        crashing = pool.apply_async(crash)
        unlucky = pool.apply_async(
            fail_twice, (pathlib.Path(name),), retries=3, retry_on=(shoal.WorkerDied, ConnectionError)
        )
        unwanted = pool.apply_async(hang)
        report("a job that hangs", hanging)
        report("a job that crashes", crashing)
        report("a job that fails twice", unlucky)
        unwanted.cancel()
        report("a job that was cancelled", unwanted)
        report("and then", pool.apply_async(sum, ([1, 2, 3],)))


if __name__ == "__main__":
    main()
