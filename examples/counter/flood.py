"""What `flood_gtk4.py` and `flood_qt6.py` share: the worker, and the figures of how the window kept up."""

import statistics
import sys
import time

import shoal

BUDGET = 500  # items at a time, which takes a fraction of a millisecond
TICK = 0.010


def produce(items, count, rate):
    """What the worker does: put the numbers below `count`, so many a second, unless the queue is shut down before."""
    began = time.monotonic()
    sent = 0
    try:
        while sent < count:
            due = min(int((time.monotonic() - began) * rate), count)
            items.put_many(range(sent, due))  # waits while the queue is full
            sent = due
            time.sleep(0.001)
        items.shutdown()
    except shoal.ShutDown:
        pass  # the window was closed


class Flood:
    """A worker's numbers, how many of them have come, and how late ticks of 10 ms were meanwhile."""

    def __init__(self):
        self.queue = shoal.Queue(maxsize=20_000)  # a window that cannot follow slows the worker down
        self.count = 0
        self.late = []
        self._in_order = True
        arguments = [int(argument) for argument in sys.argv[1:]]
        count, rate = [*arguments, *(1_000_000, 100_000)[len(arguments) :]]
        self._worker = shoal.Process(target=produce, args=(self.queue, count, rate), daemon=True)
        self._worker.start()
        self._began = time.monotonic()
        self._ticked = None

    def take(self):
        """Take what has come, but no more than the budget. Raises ShutDown when the worker has put all."""
        batch = self.queue.get_many(BUDGET, timeout=0)
        self._in_order &= batch == list(range(self.count, self.count + len(batch)))
        self.count += len(batch)

    def tick(self):
        """Note how much later than 10 ms after the last time this was called: so long nothing else was done."""
        now = time.monotonic()
        if self._ticked is not None:
            self.late.append(1000 * (now - self._ticked - TICK))
        self._ticked = now

    def end(self):
        """End the worker, and print how it went."""
        seconds = time.monotonic() - self._began
        self.queue.shutdown(immediate=True)  # or else a worker that waits for room would wait for ever
        self._worker.join()
        order = "all in order" if self._in_order else "NOT in order"
        print(f"{self.count} items in {seconds:.1f} s, {order}: {self.count / seconds:,.0f} a second")
        if len(self.late) > 1:
            median, p99 = statistics.median(self.late), statistics.quantiles(self.late, n=100)[98]
            print(
                f"ticks came late by {median:.1f} ms (median), {p99:.1f} ms (99 of 100), {max(self.late):.1f} ms (most)"
            )
