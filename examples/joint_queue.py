"""A Python and a C++ program on the same queues: this one sends plots of land, joint_queue.cpp surveys them.

    python examples/joint_queue.py build/release/examples/joint_queue

What the two send each other is written straight into shared memory, by C++ on both sides:

    Python                                           C++
    {"name": "...", "rings": [...]}                  struct plot, whose members were given names (shoal::field_names)
    (2.0, 1.5)                                       struct point, which was not given any
    [[(x, y), ...], ...]                             std::vector<std::vector<point>>
    None                                             an empty std::optional
"""

import contextlib
import queue
import subprocess
import sys

import shoal

PLOTS = [
    {"name": "orchard", "rings": [[(0, 0), (40, 0), (40, 25), (0, 25)]]},
    {"name": "meadow with a pond", "rings": [[(0, 0), (90, 0), (0, 60)], [(10, 10), (20, 10), (20, 20), (10, 20)]]},
    {"name": "Übrig gebliebenes", "rings": []},
]


def start_surveyor(program, plots, surveys):
    """Start the C++ program with both queues.

    A queue is reached through two descriptors: its memory, and one to poll; a bounded queue has a third, to poll for
    room. Python closes descriptors when it starts another program, except those in `pass_fds`. These keep their
    numbers, so that it is enough to tell it the numbers.
    """
    queues = (plots.descriptors(), surveys.descriptors())
    numbers = [",".join(map(str, descriptors)) for descriptors in queues]
    return subprocess.Popen([program, *numbers], pass_fds=sum(queues, ()))


def next_survey(surveys, surveyor):
    """Take the next survey; a queue does not say that its other end has died, so look now and then."""
    while True:
        with contextlib.suppress(queue.Empty):
            return surveys.get(timeout=0.5)
        if surveyor.poll() is not None and surveys.empty():
            raise SystemExit(f"the surveyor has ended with {surveyor.returncode} before its work was done")


def main(program):
    plots, surveys = shoal.Queue(), shoal.Queue()
    surveyor = start_surveyor(program, plots, surveys)
    for plot in PLOTS:
        plots.put(plot)
    plots.put(None)
    while (survey := next_survey(surveys, surveyor)) is not None:
        print(survey)
    return surveyor.wait()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} PATH_OF_THE_C++_PROGRAM")
    sys.exit(main(sys.argv[1]))
