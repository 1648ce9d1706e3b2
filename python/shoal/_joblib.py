"""Shoal's pool as a backend of joblib: `joblib.parallel_config(backend="shoal")`."""

from __future__ import annotations

import os

import joblib  # type: ignore[import-not-found,import-untyped,unused-ignore]
from joblib._parallel_backends import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
)

from shoal._reusable_pool import hold_reusable_pool, release_reusable_pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shoal._results import ApplyResult
    from shoal.pool import Pool


class ShoalBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc,unused-ignore]
    """Runs joblib's calls in the pool that `shoal.get_reusable_pool` keeps, so that workers are there for the next.

    What `parallel_config` is given besides are options of the pool, such as `context` or `max_memory`. An error cancels
    the calls that have not ended; the workers of those that run are replaced.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True

    _pool: Pool | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(joblib.cpu_count() + 1 + n_jobs, 1)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Get a pool of `n_jobs` workers. What is said about memory maps is not needed: arrays are shared memory."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._under_way: set[ApplyResult[Any]] = set()
        limits = tuple(sorted(self._prepare_worker_env(n_jobs).items()))
        self._pool = hold_reusable_pool(n_jobs, initializer=_limit_threads, initargs=(limits,), **self.backend_kwargs)
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], object] | None = None) -> ApplyResult[Any]:
        """Have `func()` called by a worker; then `callback` gets its result object."""
        assert self._pool is not None
        result = self._pool.apply_async(func)
        self._under_way.add(result)

        def done(result: ApplyResult[Any]) -> None:
            self._under_way.discard(result)
            if callback is not None:
                callback(result)

        result._when_done(done)
        return result

    apply_async = submit  # its name before joblib 1.5

    def retrieve_result_callback(self, out: ApplyResult[Any]) -> Any:
        return out.get(0)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        for result in list(self._under_way):
            result.cancel()

    def terminate(self) -> None:
        """Leave the pool to the next who asks for one."""
        pool, self._pool = self._pool, None
        if pool is not None:
            release_reusable_pool(pool)
        self.reset_batch_stats()


def _limit_threads(limits: tuple[tuple[str, str], ...]) -> None:
    """In a worker: limit the threads of libraries for numerics, as the environment variables in `limits` say."""
    os.environ.update(limits)
    try:
        # Those that the program has imported have read their variables already.
        import threadpoolctl  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return
    threadpoolctl.threadpool_limits(int(dict(limits)["OMP_NUM_THREADS"]))
