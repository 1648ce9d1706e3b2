"""How calls of a pool's methods become jobs, and those tasks."""

from __future__ import annotations

from collections.abc import Sized

from shoal import _progress
from shoal._checks import seconds, whole_number
from shoal._feeding import Feeder
from shoal._results import ApplyResult, IMapIterator, MapResult
from shoal._retries import Retries
from shoal._worker import CALL, ITEM, MAP, STAR, STARMAP
from shoal.errors import WorkerDied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from shoal.pool import Pool

    # Classes of exceptions, as in an `except` clause.
    Errors = type[BaseException] | tuple[type[BaseException], ...]

# Iterators over these run nobody's code and never wait for anything.
_CONTAINERS = (list, tuple, range, str, bytes, bytearray, dict, set, frozenset)
# How many tasks of an iterator of results may be under way, or done and not taken: of containers, and of others.
_AHEAD_IN_CONTAINER = 16384
_AHEAD = 1024


class Limits:
    """What is done about the tasks of a call that do not end well."""

    __slots__ = ("retries", "retry_on", "timeout")

    def __init__(self, timeout: float | None, retries: int | None, retry_on: Errors | None) -> None:
        if timeout is not None:
            seconds("timeout", timeout)
        if retries is not None and (not isinstance(retries, int) or retries < 0):
            raise ValueError(f"retries is {retries!r}, expected a number from 0 on")
        if retry_on is not None:
            for kind in retry_on if isinstance(retry_on, tuple) else (retry_on,):
                if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                    raise TypeError(f"retry_on has {kind!r}, expected an exception class or a tuple of such")
        self.timeout = timeout
        self.retries = retries or 0
        self.retry_on = WorkerDied if retry_on is None else retry_on

    def but(self, timeout: float | None, retries: int | None, retry_on: Errors | None) -> Limits:
        """These, or what is given instead of them."""
        if timeout is None and retries is None and retry_on is None:
            return self
        return Limits(
            self.timeout if timeout is None else timeout,
            self.retries if retries is None else retries,
            self.retry_on if retry_on is None else retry_on,
        )

    @property
    def any(self) -> bool:
        return self.timeout is not None or self.retries > 0


def apply(
    pool: Pool,
    method: str,
    func: Callable[..., Any],
    args: Iterable[Any],
    kwds: Mapping[str, Any],
    callback: Callable[[Any], object] | None,
    error_callback: Callable[[BaseException], object] | None,
    limits: Limits,
) -> ApplyResult[Any]:
    """Submit one task."""
    result: ApplyResult[Any] = ApplyResult(pool, method, func, callback, error_callback)
    if kwds:
        kind, arguments = CALL, (tuple(args), dict(kwds))
    else:
        kind, arguments = STAR, tuple(args)
    try:
        if limits.any:
            _set_limits(result, limits, kind, func)
            if result._retries is not None:
                result._retries.remember(0, arguments)
        pool._crew.submit(result, 0, kind, func, arguments)
    except BaseException:
        pool._crew.give_up(result)  # nobody will have it
        raise
    return result


def map_(
    pool: Pool,
    method: str,
    star: bool,
    func: Callable[..., Any],
    iterable: Iterable[Any],
    chunksize: int | None,
    callback: Callable[[Any], object] | None,
    error_callback: Callable[[BaseException], object] | None,
    limits: Limits,
    progress: bool,
) -> MapResult[Any]:
    """Submit tasks for all items, as long as they fit into memory; the others follow by a thread."""
    # Subclasses may have another length than items.
    as_it_is = isinstance(iterable, (list, tuple, range)) and type(iterable) in _CONTAINERS
    items: Sequence[Any] = iterable if as_it_is else list(iterable)  # type: ignore[assignment]
    if chunksize is None:
        chunksize = 1 if limits.any else max(1, -(-len(items) // (pool._processes * 4)))
    else:
        chunksize = checked_chunksize(chunksize)
    result: MapResult[Any] = MapResult(pool, method, func, callback, error_callback, chunksize, len(items))
    if progress:
        result._progress = _progress.start(len(items), f"{method}({result._func_name})")
    if not items:
        _end_at_once(result)
        return result
    try:
        _feed(pool, result, star, func, iter(items), limits, blocking=False)
    except BaseException:
        pool._crew.give_up(result)  # nobody will have it
        raise
    return result


def imap(
    pool: Pool,
    iterator: type[IMapIterator[Any]],
    method: str,
    func: Callable[..., Any],
    iterable: Iterable[Any],
    chunksize: int,
    limits: Limits,
    progress: bool,
    buffersize: int | None,
) -> IMapIterator[Any]:
    """Submit the first tasks; the others follow as results are taken."""
    chunksize = checked_chunksize(chunksize)
    if buffersize is not None and whole_number("buffersize", buffersize) < 1:
        raise ValueError(f"buffersize must be 1+, not {buffersize}")
    blocking = type(iterable) not in _CONTAINERS
    ahead = buffersize or max(_AHEAD if blocking else _AHEAD_IN_CONTAINER, 8 * pool._processes)
    result = iterator(pool, method, func, chunksize, ahead)
    if progress:
        total = len(iterable) if isinstance(iterable, Sized) else None
        result._progress = _progress.start(total, f"{method}({result._func_name})")
    pool._crew.open(result)
    try:
        try:
            items = iter(iterable)
        except Exception as error:
            items, blocking = _raising(error), False
        _feed(pool, result, False, func, items, limits, blocking)
    except BaseException as error:
        pool._crew.give_up(result, error)  # nobody will have it
        raise
    return result


def _feed(
    pool: Pool,
    job: MapResult[Any] | IMapIterator[Any],
    star: bool,
    func: Callable[..., Any],
    items: Iterator[Any],
    limits: Limits,
    blocking: bool,
) -> None:
    chunksize = job._chunksize
    one, several = (STAR, STARMAP) if star else (ITEM, MAP)
    kind = one if chunksize == 1 else several
    if limits.any:
        _set_limits(job, limits, kind, func)
        if job._retries is not None:
            items = job._retries.remembering(items, chunksize, lambda: pool._crew.tasks_in_flight(job))
    job._feeder = Feeder(pool._crew, kind, func, items, blocking)
    job._feeder.start(job)


def checked_chunksize(chunksize: int) -> int:
    """It as an int. Raises TypeError and ValueError if it is no number of items."""
    chunksize = whole_number("chunksize", chunksize)
    if chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize}")
    return chunksize


def _raising(error: Exception) -> Iterator[Any]:
    raise error
    yield


def _set_limits(job: Any, limits: Limits, kind: int, func: Callable[..., Any]) -> None:
    if limits.retries:
        job._retries = Retries(limits.retries, limits.retry_on, kind, func)
        job._retries_wanted = True
    if limits.timeout is not None:
        job._crew.limit(job, limits.timeout)


def _end_at_once(result: MapResult[Any]) -> None:
    if result._progress is not None:
        result._progress.close()
    if result._is_called_back:
        result._crew.call_back(result)
