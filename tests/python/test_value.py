"""shoal.Value and shoal.RawValue. What arrays have in common with them is here too."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import resource
import signal
import threading
from collections.abc import Callable
from multiprocessing import sharedctypes as standard
from typing import Any

import pytest
import shoal
from fork_support import open_descriptors
from shoal import sharedctypes

PATIENCE = 30.0

INTEGERS = "bBhHiIlLqQ"
FLOATS = "fd"


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]


class Point3(Point):
    _fields_ = [("z", ctypes.c_int)]


class Named(ctypes.Structure):
    _fields_ = [("value", ctypes.c_int), ("add", ctypes.c_int)]


class Counter(shoal.Value[int]):
    def __init__(self, start: int) -> None:
        super().__init__("l", start)
        self.unit = "items"

    def up(self) -> None:
        with self:
            self.value += 1


def count_up(value: Any, times: int) -> None:
    for _ in range(times):
        with value.get_lock():
            value.value += 1


def add_up(value: Any, times: int) -> None:
    for _ in range(times):
        value.add(1)


def double_all(values: list[Any]) -> None:
    for value in values:
        value.value *= 2


def move(point: Any, counter: Any, raw: Any) -> None:
    point.x += 1
    counter.up()
    raw.value = 7


def answer(connection: Any) -> None:
    value = connection.recv()
    with value:
        value.value += 1
    connection.send(value)
    connection.recv()


def run_all(context: Any, count: int, target: Callable[..., None], *args: Any) -> None:
    children = [context.Process(target=target, args=args) for _ in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join(PATIENCE)
        assert child.exitcode == 0


def test_it_is_a_class() -> None:
    value = shoal.Value("i", 5)
    assert type(value) is shoal.Value
    assert isinstance(value, shoal.Value)
    assert isinstance(value, sharedctypes.Synchronized)
    assert isinstance(value, sharedctypes.SynchronizedBase)
    assert (shoal.Value.__name__, shoal.Value.__module__) == ("Value", "shoal.sharedctypes")
    assert shoal.get_context("spawn").Value is shoal.Value
    assert shoal.Value[int]("i", 3).value == 3


def test_it_begins_as_given_or_as_zero() -> None:
    assert shoal.Value("i").value == 0
    assert shoal.Value("d", 2.5).value == 2.5
    assert shoal.Value("c", b"x").value == b"x"
    assert shoal.Value("u", "ü").value == "ü"
    assert shoal.Value(ctypes.c_bool, True).value is True
    assert shoal.Value(ctypes.c_int.__ctype_be__, 5).value == 5


@pytest.mark.parametrize("typecode", INTEGERS)
@pytest.mark.parametrize("number", [0, 1, -1, 200, 40_000, 3_000_000_000, -(2**63), 2**64 - 1, 2**64 + 5, 10**30])
def test_integers_are_converted_as_ctypes_converts_them(typecode: str, number: int) -> None:
    expected = sharedctypes.typecode_to_type[typecode](number).value
    value = shoal.Value(typecode)
    value.value = number
    assert value.value == expected
    assert value.get_obj().value == expected


@pytest.mark.parametrize("typecode", FLOATS)
@pytest.mark.parametrize("number", [0.1, -2.5, 1e300, float("inf"), 3, True, 2**60])
def test_floats_are_converted_as_ctypes_converts_them(typecode: str, number: float) -> None:
    expected = sharedctypes.typecode_to_type[typecode](number).value
    value = shoal.Value(typecode)
    value.value = number
    assert value.value == expected


@pytest.mark.parametrize(
    ("typecode", "wrong"),
    [
        ("i", 1.5),
        ("i", "1"),
        ("i", None),
        ("d", "1"),
        ("d", 10**400),
        ("c", b"xy"),
        ("c", "x"),
        ("u", "xy"),
        ("u", b"x"),
    ],
)
def test_wrong_values_are_refused_as_ctypes_refuses_them(typecode: str, wrong: Any) -> None:
    expected = sharedctypes.typecode_to_type[typecode]()
    with pytest.raises((TypeError, ValueError, OverflowError)) as theirs:
        expected.value = wrong
    value = shoal.Value(typecode)
    with pytest.raises(theirs.type) as ours:
        value.value = wrong
    assert str(ours.value) == str(theirs.value)
    assert value.value == type(expected)().value
    assert value.get_lock().acquire(timeout=0)  # and the lock was released


def test_it_cannot_be_deleted() -> None:
    value = shoal.Value("i")
    with pytest.raises(TypeError):
        del value.value


def test_processes_count_right_under_its_lock(context: Any) -> None:
    value = context.Value("i", 0)
    run_all(context, 3, count_up, value, 300)
    assert value.value == 900


def test_processes_count_right_without_its_lock(context: Any) -> None:
    value = context.Value("q", 0)
    run_all(context, 3, add_up, value, 3_000)
    assert value.value == 9_000


def test_all_kinds_are_shared_with_children(context: Any) -> None:
    values = [context.Value(code, 3) for code in INTEGERS + FLOATS] + [context.RawValue("i", 3)]
    run_all(context, 1, double_all, values)
    assert [value.value for value in values] == [6] * len(values)


def test_structures_and_subclasses_are_shared_with_children(context: Any) -> None:
    point, counter, raw = context.Value(Point, 1, 2.5), Counter(4), context.RawValue("i")
    run_all(context, 1, move, point, counter, raw)
    assert (point.x, point.y, counter.value, raw.value) == (2, 2.5, 5, 7)


def test_it_goes_through_connections_and_queues() -> None:
    value = shoal.Value("i", 1)
    here, there = shoal.Pipe()
    child = shoal.get_context("spawn").Process(target=answer, args=(there,))
    child.start()
    here.send(value)
    assert here.poll(PATIENCE)
    returned = here.recv()
    assert (returned.value, value.value) == (2, 2)
    here.send(None)
    child.join(PATIENCE)
    queue = shoal.Queue()
    queue.put([value, shoal.RawValue("i", 9), Counter(1)])
    same, raw, counter = queue.get(timeout=PATIENCE)
    same.add(5)
    assert (value.value, raw.value, counter.value, counter.unit) == (7, 9, 1, "items")
    assert type(counter) is Counter
    with same:
        assert not acquired_elsewhere(value)


def acquired_elsewhere(lock: Any) -> bool:
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(lock.acquire(False)))
    thread.start()
    thread.join()
    return results[0]


def test_plain_pickle_shares_it_too() -> None:
    value = shoal.Value("i", 1)
    pickle.loads(pickle.dumps(value)).value = 2
    assert value.value == 2


def test_a_structure_has_its_fields_as_attributes() -> None:
    point = shoal.Value(Point, 1, 2.5)
    assert isinstance(point, shoal.Value)
    assert (point.x, point.y) == (1, 2.5)
    point.x = 9
    assert point.get_obj().x == 9
    assert not hasattr(point, "value")
    assert type(shoal.Value(Point)) is type(point)
    assert shoal.Value(Point3, 1, 2, 3).y == 2
    named = shoal.Value(Named, 4, 5)
    assert (named.value, named.add) == (4, 5)


def test_a_subclass_may_hold_a_structure() -> None:
    class Place(shoal.Value[Any]):
        def __init__(self) -> None:
            super().__init__(Point, 3, 4)

        def sum(self) -> float:
            with self:
                return float(self.x + self.y)

    place = Place()
    assert isinstance(place, Place)
    assert type(place).__name__ == "Place"
    assert place.sum() == 7


def test_a_subclass_that_forgets_its_base_is_told() -> None:
    class Forgetful(shoal.Value[int]):
        def __init__(self) -> None:
            pass

    with pytest.raises(RuntimeError, match=r"did not call super\(\).__init__\(\)"):
        _ = Forgetful().value


def test_lock_says_whether_there_is_one() -> None:
    assert isinstance(shoal.Value("i").get_lock(), shoal.RLock)
    assert isinstance(shoal.Value("i", lock=None).get_lock(), shoal.RLock)
    lock = shoal.Lock()
    assert shoal.Value("i", lock=lock).get_lock() is lock
    raw = shoal.Value("i", 5, lock=False)
    assert type(raw) is ctypes.c_int
    assert not hasattr(raw, "get_lock")
    with pytest.raises(AttributeError, match="has no method 'acquire'"):
        shoal.Value("i", lock="a lock")


def test_any_lock_will_do() -> None:
    class Recording:
        def __init__(self) -> None:
            self.calls: list[str] = []

        def acquire(self) -> bool:
            self.calls.append("acquire")
            return True

        def release(self) -> None:
            self.calls.append("release")

    lock = Recording()
    value = shoal.Value("i", 1, lock=lock)
    value.value = value.value + 1
    assert lock.calls == ["acquire", "release"] * 2
    assert value.acquire() is True
    assert shoal.Value("i", 3, lock=threading.RLock()).value == 3
    assert shoal.Value("i", 3, lock=shoal.get_context("fork").Lock()).value == 3


def test_value_waits_for_the_lock() -> None:
    value = shoal.Value("i", 1)
    seen: list[int] = []
    with value:
        thread = threading.Thread(target=lambda: seen.append(value.value))
        thread.start()
        value.value = 2
        thread.join(0.05)
        assert not seen
        value.value = 3
    thread.join(PATIENCE)
    assert seen == [3]


def test_with_takes_the_lock_in_every_way_that_it_is_written() -> None:
    value = shoal.Value("i")
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(value) is True
        with value, pytest.raises(ArithmeticError), value:
            raise ArithmeticError
        assert not acquired_elsewhere(value)
    assert shoal.Value.__enter__(value) is True
    value.__exit__(None, None, None)
    assert value.acquire(False)
    value.release()
    with pytest.raises(TypeError, match="takes 3 arguments"):
        value.__exit__()
    with pytest.raises(TypeError, match=r"needs a shoal\._core\.SynchronizedBase"):
        shoal.Value.__enter__(5)  # type: ignore[arg-type]
    with shoal.Value("i", lock=threading.Lock()) as entered:
        assert entered is True


def test_acquire_and_release_are_the_lock_s() -> None:
    value = shoal.Value("i")
    assert value.acquire(timeout=1)
    assert not acquired_elsewhere(value)
    value.release()
    assert acquired_elsewhere(value)


@pytest.mark.parametrize("typecode", INTEGERS)
def test_adding_wraps_around_as_ctypes_does(typecode: str) -> None:
    type_ = sharedctypes.typecode_to_type[typecode]
    value = shoal.Value(typecode, 100)
    for number in (27, 1, -500, 2**15, -(2**63), 2**64 - 1, 10**25):
        expected = type_(value.value + number).value
        before = value.value
        assert value.fetch_add(number) == before
        assert value.value == expected
        value.add(-number)
        assert value.value == before


@pytest.mark.parametrize("typecode", FLOATS)
def test_floats_are_added_in_their_own_width(typecode: str) -> None:
    value = shoal.Value(typecode, 0.5)
    assert value.fetch_add(0.25) == 0.5
    value.add(1)
    assert value.value == 1.75


@pytest.mark.parametrize("typecode", INTEGERS + FLOATS)
def test_compare_exchange_replaces_only_what_was_expected(typecode: str) -> None:
    value = shoal.Value(typecode, 5)
    assert value.compare_exchange(5, 6) is True
    assert value.compare_exchange(expected=5, desired=7) is False
    assert value.value == 6


def test_compare_exchange_compares_floats_as_python_does() -> None:
    single = shoal.Value("f", 0.1)
    assert single.compare_exchange(0.1, -0.0)
    assert single.compare_exchange(0.0, float("nan"))
    assert not single.compare_exchange(float("nan"), 1.0)


def test_atomic_operations_refuse_what_is_no_number() -> None:
    with pytest.raises(TypeError, match=r"add\(\) of a c_int needs ints"):
        shoal.Value("i").add(1.5)
    with pytest.raises(TypeError, match=r"fetch_add\(\) of a c_double needs floats"):
        shoal.Value("d").fetch_add("1")
    with pytest.raises(TypeError, match=r"for integers and floats in shared memory; this is a c_char"):
        shoal.Value("c").add(1)
    with pytest.raises(TypeError, match=r"this is a c_int"):
        sharedctypes.synchronized(ctypes.c_int(5)).add(1)
    with pytest.raises(TypeError, match="missing required argument: 'desired'"):
        shoal.Value("i").compare_exchange(1)  # type: ignore[call-arg]


def test_atomic_operations_do_not_wait_for_the_lock() -> None:
    value = shoal.Value("i")
    with value:
        thread = threading.Thread(target=value.add, args=(1,))
        thread.start()
        thread.join(PATIENCE)
        assert value.value == 1


def test_its_memory_is_a_buffer() -> None:
    value = shoal.Value("i", 5)
    view = memoryview(value)
    assert (view.format, view.ndim, view.itemsize, view[()]) == ("i", 0, 4, 5)
    del value
    gc.collect()
    assert view[()] == 5


def test_numpy_shares_its_memory() -> None:
    numpy = pytest.importorskip("numpy")
    value = shoal.Value("d", 1.5)
    array = numpy.asarray(value)
    array += 1
    assert value.value == 2.5


def test_copies_and_synchronized_objects_work_as_in_the_standard_library() -> None:
    point = Point(1, 2)
    copied = sharedctypes.copy(point)
    point.x = 5
    assert (copied.x, copied.y) == (1, 2)
    guarded = sharedctypes.synchronized(copied)
    assert guarded.x == 1
    plain = sharedctypes.synchronized(ctypes.c_int(5), threading.Lock())
    plain.value += 1
    assert plain.value == 6
    with pytest.raises(AssertionError, match="already synchronized"):
        sharedctypes.synchronized(guarded)


def test_the_module_has_what_the_standard_library_s_has() -> None:
    for name in dir(standard):
        assert hasattr(sharedctypes, name), name


def test_an_object_of_a_shared_one_s_type_is_still_pickled_by_value() -> None:
    shoal.RawValue(Point, 1, 2)
    queue = shoal.Queue()
    queue.put(Point(3, 4))
    assert queue.get(timeout=PATIENCE).x == 3


def test_ten_thousand_take_few_descriptors() -> None:
    before = len(open_descriptors())
    values = [shoal.Value("d", 1) for _ in range(10_000)]
    assert len(open_descriptors()) - before < 60
    assert sum(value.value for value in values) == 10_000


def test_many_leave_nothing_behind() -> None:
    def make(times: int) -> None:
        for _ in range(times):
            shoal.Value("i", 5)

    make(2_000)
    before, descriptors = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(open_descriptors())
    make(50_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2_000  # KiB
    assert len(open_descriptors()) <= descriptors


def test_nothing_lies_in_dev_shm() -> None:
    before = set(os.listdir("/dev/shm"))
    values = [shoal.Value("i"), shoal.Array("d", 1_000_000)]
    assert set(os.listdir("/dev/shm")) <= before
    del values


def hold_and_wait(value: Any, held: Any) -> None:
    with value.get_lock():
        value.value = 1
        held.set()
        signal.pause()


def test_a_killed_holder_is_told_once_and_the_value_goes_on(context: Any) -> None:
    value, held = context.Value("i"), context.Event()
    child = context.Process(target=hold_and_wait, args=(value, held))
    child.start()
    assert held.wait(PATIENCE)
    child.kill()
    child.join(PATIENCE)
    with pytest.raises(shoal.OwnerDied):
        value.value += 1
    value.value += 1
    assert value.value == 2
    assert acquired_elsewhere(value)
