"""Tasks that are run again."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from shoal._results import Job


# Tasks that were made of items and are not in flight yet are fewer: they are sent together.
_READ_AHEAD = 256


class Retries:
    """How often a job's tasks are run again, on what errors, and what they were made of."""

    def __init__(self, most: int, errors: type[BaseException] | tuple[type[BaseException], ...], kind: int, func: Any):
        self._most = most
        self._errors = errors
        self._kind = kind
        self._func = func
        self._sent: dict[int, Any] = {}  # arguments, by the index of the task
        self._tried: dict[int, int] = {}  # how often a task was run again

    def remember(self, index: int, arguments: Any) -> None:
        """These are the arguments of task `index`."""
        self._sent[index] = arguments

    def remembering(
        self, items: Iterable[Any], chunksize: int, in_flight: Callable[[], Iterable[int]]
    ) -> Iterator[Any]:
        """The items, of which each `chunksize` make a task, one after the other, from task 0 on.

        `in_flight` tells which tasks have no outcome; the others are forgotten as the work goes on.
        """
        tidy_at = 4 * _READ_AHEAD
        for number, item in enumerate(items):
            index = number // chunksize
            if chunksize == 1:
                self._sent[index] = item
            else:
                self._sent.setdefault(index, []).append(item)
            if len(self._sent) > tidy_at:
                wanted = {*in_flight(), *range(index - _READ_AHEAD, index + 1)}
                self._sent = {kept: sent for kept, sent in list(self._sent.items()) if kept in wanted}
                tidy_at = 4 * _READ_AHEAD + 2 * len(self._sent)
            yield item

    def try_again(self, job: Job, index: int, error: BaseException) -> bool:
        """Submit task `index` of `job` once more, if it may be; return whether it was."""
        if not isinstance(error, self._errors) or index not in self._sent:
            return False
        tried = self._tried.get(index, 0)
        if tried >= self._most:
            return False
        self._tried[index] = tried + 1
        try:
            job._crew.submit(job, index, self._kind, self._func, self._sent[index])
        except BaseException as raised:
            # Of pickling. It must not end the thread that receives.
            job._crew.fail(job, index, raised)
        return True
