"""The names of multiprocessing: which are Shoal's, where the others come from, and what kind of thing they are."""

from __future__ import annotations

import multiprocessing
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
import shoal

CLASSES = [
    "Array",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Pool",
    "Process",
    "Queue",
    "RLock",
    "Semaphore",
    "SimpleQueue",
    "Value",
]

# What can be made of each without arguments, or with these.
ARGUMENTS: dict[str, tuple[Any, ...]] = {"Array": ("i", 2), "Barrier": (2,), "Value": ("i",)}
LOCKS = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]


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
    """A complaint as old as multiprocessing, as a transcript.

    >>> import multiprocessing as mp
    >>> isinstance(mp.Lock(), mp.Lock)
    TypeError: isinstance() arg 2 must be a type, a tuple of types, or a union
    >>> mp.Lock
    <bound method BaseContext.Lock of <multiprocessing.context.DefaultContext object at 0x7f...>>
    >>> type(mp.Lock()).__name__, type(mp.Lock()) is mp.Lock
    ('Lock', False)
    >>> class Mine(mp.Lock): ...
    TypeError: method expected 2 arguments, got 3
    >>> def work(lock: mp.Lock | None = None): ...
    TypeError: unsupported operand type(s) for |: 'method' and 'NoneType'

    With `import shoal as mp` there is nothing to complain of.
    """
    with pytest.raises(TypeError, match="isinstance"):
        isinstance(multiprocessing.Lock(), multiprocessing.Lock)  # type: ignore[arg-type]
    assert "bound method BaseContext.Lock" in repr(multiprocessing.Lock)
    assert type(multiprocessing.Lock()) is not multiprocessing.Lock
    with pytest.raises(TypeError):
        type("Mine", (multiprocessing.Lock,), {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unsupported operand"):
        multiprocessing.Lock | None  # type: ignore[operator]

    assert isinstance(shoal.Lock(), shoal.Lock)
    assert repr(shoal.Lock) == "<class 'shoal.synchronize.Lock'>"
    assert type(shoal.Lock()) is shoal.Lock
    mine = type("Mine", (shoal.Lock,), {})
    assert isinstance(mine(), shoal.Lock)
    assert isinstance(None, shoal.Lock | None)


@pytest.mark.parametrize("name", sorted({*CLASSES} - {"Pool", "Process"}))
def test_what_a_class_makes_is_an_instance_of_it(name: str, context: Any) -> None:
    cls = getattr(shoal, name)
    for made in (cls(*ARGUMENTS.get(name, ())), getattr(context, name)(*ARGUMENTS.get(name, ()))):
        assert isinstance(made, cls)
        assert type(made).__name__ == name
    others = [getattr(shoal, other) for other in LOCKS if name in LOCKS and other not in (name, "Semaphore")]
    assert not isinstance(made, tuple(others))
    with pytest.raises(TypeError, match="isinstance"):
        isinstance(made, getattr(multiprocessing, name))


def test_a_pool_is_an_instance_of_its_class() -> None:
    with shoal.Pool(1) as pool:
        assert isinstance(pool, shoal.Pool)


@pytest.mark.parametrize("name", LOCKS)
def test_a_context_may_be_given_as_to_multiprocessings_own_classes(name: str, context: Any) -> None:
    cls = getattr(shoal.synchronize, name)
    assert isinstance(cls(*ARGUMENTS.get(name, ()), ctx=context), cls)


def test_a_context_has_the_same_classes(context: Any) -> None:
    for name in LOCKS:
        assert getattr(context, name) is getattr(shoal, name)
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


def test_locks_can_be_subclassed() -> None:
    class Counted(shoal.Lock):
        taken = 0

        def __enter__(self) -> bool:
            self.taken += 1
            return super().__enter__()

    lock = Counted()
    with lock, pytest.raises(AttributeError):
        lock.no_such_thing  # type: ignore[attr-defined]  # noqa: B018
    assert lock.taken == 1


@pytest.mark.parametrize("name", LOCKS)
def test_a_subclass_may_take_other_arguments(name: str) -> None:
    base = getattr(shoal, name)

    def begin(self: Any, color: str) -> None:
        base.__init__(self, *ARGUMENTS.get(name, ()))
        self.color = color

    made = type("Colored", (base,), {"__init__": begin})("red")
    assert (made.color, isinstance(made, base)) == ("red", True)


@pytest.mark.parametrize("name", LOCKS)
def test_a_subclass_that_forgets_to_initialize_its_base_is_told_so(name: str) -> None:
    forgetful = type("Forgetful", (getattr(shoal, name),), {"__init__": lambda self: None})
    method = {"Barrier": "wait", "Event": "is_set"}.get(name, "__enter__")
    with pytest.raises(RuntimeError, match=r"Forgetful.__init__ did not call super\(\).__init__\(\)"):
        getattr(forgetful(), method)()


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
    assert table["Manager"] == "standard library"
