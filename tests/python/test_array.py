"""shoal.Array and shoal.RawArray."""

from __future__ import annotations

import array
import ctypes
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import shoal
from fork_support import open_descriptors
from shoal import sharedctypes

PATIENCE = 30.0

NUMBERS = "bBhHiIlLqQfd"


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]


def sum_up(numbers: Any) -> None:
    for index in range(1, len(numbers)):
        numbers[index] += numbers[index - 1]


def add_to_all(numbers: Any, times: int) -> None:
    for number in range(times):
        numbers.add(number % len(numbers), 1)


def shout(text: Any, points: Any) -> None:
    text.value = text.value.upper()
    points[1].x = 5


def run_all(context: Any, count: int, target: Callable[..., None], *args: Any) -> None:
    children = [context.Process(target=target, args=args) for _ in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join(PATIENCE)
        assert child.exitcode == 0


def both(typecode: str, content: Any) -> tuple[Any, Any]:
    """A shared array, and one of ctypes, of the same content."""
    plain = (sharedctypes.typecode_to_type[typecode] * len(content))(*content)
    return shoal.Array(typecode, content), plain


def content_of(typecode: str, count: int = 10) -> Any:
    if typecode == "c":
        return bytes(range(count))
    if typecode == "u":
        return "äöüßxyz€𝄞!"[:count]
    return [number * 7 % 100 for number in range(count)]


def test_it_is_a_class() -> None:
    numbers = shoal.Array("i", 3)
    assert type(numbers) is shoal.Array
    assert isinstance(numbers, shoal.Array)
    assert isinstance(numbers, sharedctypes.SynchronizedArray)
    assert isinstance(shoal.Array("c", 3), shoal.Array)
    assert isinstance(shoal.Array("c", 3), sharedctypes.SynchronizedString)
    assert (shoal.Array.__name__, shoal.Array.__module__) == ("Array", "shoal.sharedctypes")
    assert shoal.get_context("fork").Array is shoal.Array
    assert list(shoal.Array[float]("d", [1, 2])) == [1, 2]


@pytest.mark.parametrize("typecode", [*NUMBERS, "c", "u"])
@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        9,
        -10,
        True,
        slice(None),
        slice(2, 7),
        slice(-3, None),
        slice(7, 2),
        slice(5, 500),
        slice(None, None, 3),
        slice(None, None, -1),
        slice(8, 1, -3),
        slice(100, 200),
    ],
)
def test_it_is_read_as_ctypes_reads(typecode: str, key: Any) -> None:
    shared, plain = both(typecode, content_of(typecode))
    assert shared[key] == plain[key]
    assert type(shared[key]) is type(plain[key])


@pytest.mark.parametrize("typecode", [*NUMBERS, "c", "u"])
def test_it_is_written_as_ctypes_writes(typecode: str) -> None:
    shared, plain = both(typecode, content_of(typecode))
    for key, value in (
        (0, content_of(typecode)[5]),
        (-1, content_of(typecode)[3]),
        (slice(None), content_of(typecode)[::-1]),
        (slice(2, 5), content_of(typecode)[4:7]),
        (slice(3, 3), content_of(typecode)[:0]),
        (slice(0, 4), list(plain[6:10])),
        (slice(0, 4), tuple(plain[4:8])),
        (slice(None, None, -1), content_of(typecode)),
        (slice(1, 8, 3), content_of(typecode)[2:5]),
    ):
        plain[key] = value
        shared[key] = value
        assert shared[:] == plain[:]


@pytest.mark.parametrize(
    ("typecode", "key", "value"),
    [
        ("i", 10, 1),
        ("i", -11, 1),
        ("i", "x", 1),
        ("i", 0, "x"),
        ("i", 0, 1.5),
        ("i", slice(0, 2), [1]),
        ("i", slice(0, 2), [1, 2, 3]),
        ("i", slice(0, 2), [1, "x"]),
        ("i", slice(0, 2), 5),
        ("i", slice(0, 4, 2), [1, 2, 3]),
        ("i", slice(0, 2), range(10**12)),
        ("i", slice(0, 2), array.array("d", [1.5, 2.5])),
        ("d", slice(0, 2), "ab"),
        ("c", 0, b"ab"),
        ("c", slice(0, 2), "ab"),
        ("u", slice(0, 2), b"ab"),
        ("u", slice(0, 2), "abc"),
    ],
)
def test_wrong_assignments_are_refused_as_ctypes_refuses_them(typecode: str, key: Any, value: Any) -> None:
    shared, plain = both(typecode, content_of(typecode))
    with pytest.raises((TypeError, ValueError, IndexError, OverflowError)) as theirs:
        plain[key] = value
    with pytest.raises(theirs.type) as ours:
        shared[key] = value
    assert str(ours.value) == str(theirs.value)
    assert shared[:] == plain[:]
    assert shared.get_lock().acquire(timeout=0)  # and the lock was released


def test_elements_cannot_be_deleted() -> None:
    numbers = shoal.Array("i", 3)
    with pytest.raises(TypeError, match="deletion"):
        del numbers[0]
    with pytest.raises(IndexError):
        _ = numbers[3]


@pytest.mark.parametrize("typecode", NUMBERS)
def test_ranges_and_buffers_can_be_assigned(typecode: str) -> None:
    shared = shoal.Array(typecode, 5)
    shared[:] = range(5)
    assert shared[:] == [0, 1, 2, 3, 4]
    shared[1:4] = array.array(typecode, [7, 8, 9])
    assert shared[:] == [0, 7, 8, 9, 4]
    shared[0:3] = memoryview(shared)[2:5]
    assert shared[:] == [8, 9, 4, 9, 4]
    shared[:] = array.array("b", [1, 2, 3, 4, 5])  # of another width, perhaps
    assert shared[:] == [1, 2, 3, 4, 5]


def test_bytes_can_be_assigned_to_bytes() -> None:
    text = shoal.Array("c", 4)
    text[:] = bytearray(b"abcd")
    text[1:3] = b"XY"
    assert text[:] == b"aXYd"
    unsigned = shoal.Array("B", 2)
    unsigned[:] = b"\xff\x01"
    assert unsigned[:] == [255, 1]


def test_a_sequence_with_code_of_its_own_may_be_assigned() -> None:
    class Squares:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            return index * index

    numbers = shoal.Array("i", 4)
    numbers[:] = Squares()
    assert numbers[:] == [0, 1, 4, 9]


def test_its_size_may_be_given_and_then_it_is_zero() -> None:
    for _ in range(3):  # the later ones find the memory of the earlier ones
        for count in (0, 1, 10, 1_000, 100_000, 1_000_000):
            numbers = shoal.Array("i", count)
            assert len(numbers) == count
            assert not any(numbers[:])
            numbers[:] = range(count)


def test_it_may_be_of_other_types() -> None:
    flags = shoal.Array(ctypes.c_bool, [True, False])
    flags[1] = True
    assert flags[:] == [True, True]
    points = shoal.Array(Point, [(1, 2.5), (3, 4)])
    points[0].x = 9
    assert (len(points), points[0].x, points[1].y) == (2, 9, 4.0)
    big_endian = shoal.Array(ctypes.c_int.__ctype_be__, [1, 2])
    assert big_endian[:] == [1, 2]
    assert bytes(memoryview(big_endian).cast("B")) == b"\0\0\0\1\0\0\0\2"
    matrix = shoal.Array(ctypes.c_int * 2, 3)
    matrix[1][1] = 5
    assert [list(row) for row in matrix] == [[0, 0], [0, 5], [0, 0]]


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"length"):
        shoal.Array("i", -1)
    with pytest.raises(TypeError):
        shoal.Array("i", 1.5)  # type: ignore[call-overload]
    with pytest.raises((OverflowError, MemoryError)):
        shoal.Array("d", 2**62)
    with pytest.raises((OSError, MemoryError)):
        shoal.Array("b", 2**60)


def test_it_is_iterated_element_by_element() -> None:
    numbers = shoal.Array("i", [1, 2, 3])
    seen = []
    for number in numbers:
        numbers[2] = 30
        seen.append(number)
    assert seen == [1, 2, 30]
    assert 30 in numbers
    assert list(reversed(numbers)) == [30, 2, 1]


def test_bytes_have_value_and_raw() -> None:
    text = shoal.Array("c", b"hello\0you")
    assert (text.value, text.raw) == (b"hello", b"hello\0you")
    text.value = b"bye"
    assert text.raw == b"bye\0o\0you"
    text.raw = b"123456789"
    assert text[:] == b"123456789"
    with pytest.raises(ValueError, match="too long"):
        text.value = b"1234567890"
    assert not hasattr(shoal.Array("i", 3), "value")


def test_children_share_it(context: Any) -> None:
    for make in (context.Array, context.RawArray):
        numbers = make("i", [680, 626, 934, 821])
        run_all(context, 1, sum_up, numbers)
        assert numbers[:] == [680, 1306, 2240, 3061]
    text, points = context.Array("c", b"abc"), context.Array(Point, 3)
    run_all(context, 1, shout, text, points)
    assert (text.value, points[1].x) == (b"ABC", 5)


def test_children_count_right_without_its_lock(context: Any) -> None:
    numbers = context.Array("h", 4)
    run_all(context, 3, add_to_all, numbers, 4_000)
    assert numbers[:] == [3_000] * 4


def test_it_goes_through_a_queue() -> None:
    queue = shoal.Queue()
    numbers, raw, text = shoal.Array("d", [1, 2]), shoal.RawArray("i", [3]), shoal.Array("c", b"x")
    queue.put((numbers, raw, text))
    same, same_raw, same_text = queue.get(timeout=PATIENCE)
    same[0], same_raw[0] = 5, 6
    assert (numbers[0], raw[0], same_text.value) == (5, 6, b"x")
    assert type(same) is shoal.Array


def test_lock_says_whether_there_is_one() -> None:
    lock = shoal.Lock()
    assert shoal.Array("i", 3, lock=lock).get_lock() is lock
    assert isinstance(shoal.Array("i", 3, lock=None).get_lock(), shoal.RLock)
    raw = shoal.Array("i", [1, 2], lock=False)
    assert isinstance(raw, ctypes.Array)
    assert list(shoal.Array(typecode_or_type="i", size_or_initializer=2, lock=False)) == [0, 0]
    with pytest.raises(AttributeError, match="has no method 'acquire'"):
        shoal.Array("i", 3, lock="a lock")


def test_slices_wait_for_the_lock() -> None:
    numbers = shoal.Array("i", 3)
    seen: list[Any] = []
    with numbers:
        thread = threading.Thread(target=lambda: seen.append(numbers[:]))
        thread.start()
        numbers[0] = 1
        thread.join(0.05)
        assert not seen
        numbers[1:] = [2, 3]
    thread.join(PATIENCE)
    assert seen == [[1, 2, 3]]


def test_a_failed_assignment_of_a_slice_releases_the_lock() -> None:
    class Failing:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> int:
            raise ArithmeticError

        def __iter__(self) -> Iterator[int]:
            raise ArithmeticError

    numbers = shoal.Array("i", 3)
    with pytest.raises(ArithmeticError):
        numbers[:] = Failing()
    thread = threading.Thread(target=numbers.acquire)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_atomic_operations_work_on_elements() -> None:
    numbers = shoal.Array("B", [250, 1])
    numbers.add(0, 10)
    assert numbers.fetch_add(index=-1, x=4) == 1
    assert numbers.compare_exchange(1, 5, 6) is True
    assert numbers.compare_exchange(1, 5, 7) is False
    assert numbers[:] == [4, 6]
    with pytest.raises(IndexError, match="asked for index 2 of an array of 2 elements"):
        numbers.add(2, 1)
    with pytest.raises(TypeError, match="needs ints"):
        numbers.add(0, 1.5)
    with pytest.raises(TypeError, match="for integers and floats"):
        shoal.Array("c", 3).add(0, 1)


def test_views_share_its_memory_and_keep_it() -> None:
    numbers = shoal.Array("i", [1, 2, 3])
    view = memoryview(numbers)
    assert (view.format, view.shape, view.readonly) == ("i", (3,), False)
    view[0] = 10
    assert numbers[0] == 10
    del numbers
    gc.collect()
    others = [shoal.Array("i", [7, 7, 7]) for _ in range(1_000)]
    assert view.tolist() == [10, 2, 3]
    del others


@pytest.mark.parametrize("typecode", NUMBERS)
def test_numpy_shares_its_memory(typecode: str) -> None:
    numpy = pytest.importorskip("numpy")
    shared = shoal.Array(typecode, [1, 2, 3, 4])
    numbers = numpy.asarray(shared)
    assert numbers.dtype == numpy.dtype(typecode)
    numbers[1:3] += 10
    assert shared[:] == [1, 12, 13, 4]
    shared[:] = numbers[::-1].copy()
    assert shared[:] == [4, 13, 12, 1]
    shared[:] = numbers[::-1]  # not contiguous
    assert shared[:] == [1, 12, 13, 4]


def test_ten_thousand_take_few_descriptors() -> None:
    before = len(open_descriptors())
    arrays = [shoal.Array("d", 100) for _ in range(10_000)]
    assert len(open_descriptors()) - before < 60
    assert len(arrays[-1]) == 100


def test_a_large_one_is_returned_to_the_system() -> None:
    before = len(open_descriptors())
    for _ in range(20):
        huge = shoal.Array("b", 1 << 30, lock=False)
        huge[1 << 29] = 1
        assert len(open_descriptors()) - before <= 1
        del huge
    assert len(open_descriptors()) == before
