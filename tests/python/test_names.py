"""The names of multiprocessing: which are Shoal's, where the others come from, and what kind of thing they are."""

from __future__ import annotations

import multiprocessing
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
import shoal

CLASSES = ["Event", "JoinableQueue", "Lock", "Pool", "Process", "Queue", "SimpleQueue"]


def test_every_public_name_of_multiprocessing_is_there() -> None:
    assert set(multiprocessing.__all__) <= set(shoal.__all__)
    for name in multiprocessing.__all__:
        assert hasattr(shoal, name), name


def test_importing_shoal_leaves_multiprocessing_alone() -> None:
    assert multiprocessing.__name__ == "multiprocessing"
    assert multiprocessing.get_context().Queue.__module__.startswith("multiprocessing")


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_says_truly_what_it_is_called_and_where_it_lives(name: str) -> None:
    cls = getattr(shoal, name)
    assert isinstance(cls, type)
    assert cls.__name__ == name
    assert cls.__module__.startswith("shoal.")
    assert pickle.loads(pickle.dumps(cls)) is cls


def test_isinstance_works_where_multiprocessing_has_factory_functions() -> None:
    with pytest.raises(TypeError):
        isinstance(multiprocessing.Lock(), multiprocessing.Lock)  # type: ignore[arg-type]
    assert isinstance(shoal.Lock(), shoal.Lock)
    assert isinstance(shoal.Event(), shoal.Event)
    assert isinstance(shoal.Queue(3), shoal.Queue)
    assert isinstance(shoal.SimpleQueue(), shoal.SimpleQueue)
    assert not isinstance(shoal.Lock(), shoal.Event)
    with shoal.Pool(1) as pool:
        assert isinstance(pool, shoal.Pool)


def test_a_context_has_the_same_classes(context: Any) -> None:
    assert context.Lock is shoal.Lock
    assert context.Queue is shoal.Queue
    assert isinstance(context.Event(), shoal.Event)
    assert issubclass(context.Pool, shoal.Pool)
    assert isinstance(context.Process(), multiprocessing.process.BaseProcess)


def test_contexts_are_multiprocessings_contexts_too(context: Any) -> None:
    assert isinstance(context, multiprocessing.context.BaseContext)
    assert context.get_start_method() in multiprocessing.get_all_start_methods()


def test_an_unknown_start_method_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot find context for 'teleport'"):
        shoal.get_context("teleport")


def test_shoal_and_multiprocessing_share_one_start_method() -> None:
    before = multiprocessing.get_start_method()
    try:
        shoal.set_start_method("forkserver", force=True)
        assert multiprocessing.get_start_method() == shoal.get_start_method() == "forkserver"
        multiprocessing.set_start_method("spawn", force=True)
        assert shoal.get_start_method() == "spawn"
        assert shoal.get_context() is shoal.get_context("spawn")
        with pytest.raises(RuntimeError, match="already been set"):
            shoal.set_start_method("fork")
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_queues_can_be_subclassed_with_mixins() -> None:
    class Named:
        name = "?"

    class NamedQueue(shoal.Queue[int], Named):
        def __init__(self, name: str) -> None:
            super().__init__(2)
            self.name = name

    queue = NamedQueue("numbers")
    queue.put(1)
    assert (queue.name, queue.get(), queue.maxsize) == ("numbers", 1, 2)


def test_locks_and_events_can_be_subclassed() -> None:
    class Counted(shoal.Lock):
        taken = 0

        def __enter__(self) -> bool:
            self.taken += 1
            return super().__enter__()

    lock = Counted()
    with lock, pytest.raises(AttributeError):
        lock.no_such_thing  # type: ignore[attr-defined]  # noqa: B018
    assert lock.taken == 1


def test_submodules_that_shoal_lacks_are_the_standard_librarys() -> None:
    import multiprocessing.shared_memory

    import shoal.managers  # type: ignore[import-not-found]
    import shoal.shared_memory  # type: ignore[import-not-found]
    from shoal.connection import Client  # type: ignore[import-not-found]

    assert shoal.shared_memory is multiprocessing.shared_memory
    assert shoal.managers.SyncManager.__module__ == "multiprocessing.managers"
    assert Client is multiprocessing.connection.Client
    assert multiprocessing.shared_memory.__spec__.name == "multiprocessing.shared_memory"


def test_a_module_that_neither_has_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'shoal\.telepathy'"):
        import shoal.telepathy  # type: ignore[import-not-found]  # noqa: F401


def test_an_attribute_that_neither_has_is_reported_as_shoals() -> None:
    with pytest.raises(AttributeError, match="module 'shoal' has no attribute"):
        shoal.Telepathy  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'shoal\.queues' has no attribute 'Telepathy'"):
        shoal.queues.Telepathy  # noqa: B018


def test_what_shoal_lacks_works_together_with_what_it_has() -> None:
    condition = shoal.Condition(shoal.Lock())
    with condition:
        condition.notify_all()
    value = shoal.Value("i", 3, lock=shoal.Lock())  # type: ignore[call-overload]
    value.value += 1
    assert value.value == 4
    pipe = shoal.Pipe()
    shoal.Process(target=pipe[0].send, args=("from a child",)).start()
    assert pipe[1].recv() == "from a child"
    with shoal.pool.ThreadPool(2) as threads:
        assert threads.map(abs, [-1, -2]) == [1, 2]


def test_status_tells_whose_each_name_is(run: Callable[..., Any]) -> None:
    ended = run("-m", "shoal", "--status")
    assert ended.status == 0
    assert f"shoal {shoal.__version__}" in ended.out
    table = dict(re.findall(r"^  (\w+) +(shoal|standard library)$", ended.out, re.MULTILINE))
    assert set(table) == set(multiprocessing.__all__)
    assert {name for name in table if table[name] == "shoal"} >= set(CLASSES)
    assert table["Barrier"] == "standard library"
