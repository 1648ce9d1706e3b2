"""Large buffers are copied once, into shared memory, and come out as views of it."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import random
import signal
import sys
import threading
import tracemalloc
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shoal
from codec_support import MSGPACK, PICKLE, PICKLE_BUFFERS, encoding_of, there_and_back, with_pickle
from hypothesis import given, settings
from hypothesis import strategies as st
from shoal import CorruptRecord, _core

MIB = 1 << 20


class Blob:
    """Offers its bytes out of band, and keeps what it gets back."""

    def __init__(self, data: Any, label: str = "") -> None:
        self.data = data
        self.label = label

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Blob, (pickle.PickleBuffer(self.data), self.label)


def pattern(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(min(size, 4096)) * (size // 4096 + 1)


def blob(size: int, seed: int = 0) -> Blob:
    return Blob(bytearray(pattern(size, seed)[:size]), str(seed))


def through(queue: Any, obj: Any) -> Any:
    queue.put(obj)
    return queue.get(timeout=30)


def address_of(view: Any) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def is_shared_memory(view: Any) -> bool:
    address = address_of(view)
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(bound, 16) for bound in line.split()[0].split("-"))
        if begin <= address < end:
            return "memfd:shoal" in line
    return False


def shared_memory_of(queue: Any) -> int:
    """How many bytes of memory the queue has."""
    return os.fstat(queue.descriptors()[0]).st_blocks * 512


# --- what comes out


@pytest.mark.parametrize("size", [16 * 1024, 32 * 1024 - 1, 32 * 1024, 100_001, 3 * MIB])
def test_a_buffer_out_of_band_comes_out_as_it_was(size: int) -> None:
    sent = blob(size)
    assert encoding_of(sent) == PICKLE_BUFFERS
    got = through(shoal.Queue(), sent)
    assert type(got.data) is memoryview
    assert got.data == sent.data
    assert got.label == sent.label


def test_small_buffers_stay_part_of_the_pickle() -> None:
    sent = blob(16 * 1024 - 1)
    assert encoding_of(sent) == PICKLE
    assert type(there_and_back(sent).data) is bytearray


def test_a_large_buffer_is_a_view_of_shared_memory_at_a_multiple_of_64_bytes() -> None:
    got = through(shoal.Queue(), [blob(100_001, seed) for seed in range(5)])
    for one in got:
        assert is_shared_memory(one.data)
        assert address_of(one.data) % 64 == 0


def test_a_writable_buffer_comes_out_writable_and_its_writes_reach_nobody_else() -> None:
    queue = shoal.Queue()
    sent = blob(MIB)
    first, second = through(queue, sent), through(queue, sent)
    first.data[:4] = b"new!"
    assert bytes(first.data[:4]) == b"new!"
    assert second.data == sent.data
    assert through(queue, sent).data == sent.data


def test_a_read_only_buffer_comes_out_read_only() -> None:
    for got in (through(shoal.Queue(), Blob(pattern(MIB))), there_and_back(Blob(pattern(MIB)))):
        assert got.data.readonly
        assert got.data == pattern(MIB)


def test_writable_and_read_only_buffers_in_one_object_keep_their_kind() -> None:
    got = through(shoal.Queue(), [blob(MIB, 1), Blob(pattern(MIB)), blob(20_000, 2), blob(10, 3)])
    assert [one.data.readonly if isinstance(one.data, memoryview) else None for one in got] == [
        False,
        True,
        False,
        None,
    ]
    assert [bytes(one.data) for one in got] == [
        pattern(MIB, 1)[:MIB],
        pattern(MIB),
        pattern(20_000, 2)[:20_000],
        pattern(10, 3)[:10],
    ]


def test_a_buffer_met_twice_stays_one_object() -> None:
    sent = blob(MIB)
    first, second = through(shoal.Queue(), [sent, sent])
    assert first is second


@pytest.mark.parametrize("size", [0, 1, 5_000, 40_000, 3 * MIB])
@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: array("B", data), lambda data: data.decode("latin-1")])
def test_bytes_and_the_like_keep_their_type_and_refer_to_no_shared_memory(kind: Any, size: int) -> None:
    sent = kind(pattern(size)[:size])
    queue = shoal.Queue()
    for obj in (sent, ["in a list", (1, sent)]):
        got = through(queue, obj)
        assert got == obj
        assert type(got) is type(obj)
    del queue
    assert got == obj


def test_large_bytes_in_an_object_that_is_pickled_come_out_as_they_were() -> None:
    sent = {"set": {1, 2}, "bytes": pattern(MIB), "bytearray": bytearray(pattern(MIB, 1)), "str": "ü" * MIB}
    assert encoding_of(sent) == PICKLE
    assert through(shoal.Queue(), sent) == sent


# --- how much is copied


def python_memory_needed(call: Callable[[], Any]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "make", [blob, pattern, lambda size: bytearray(size), lambda size: "x" * size, lambda size: ("n", [pattern(size)])]
)
def test_putting_large_data_takes_no_memory_of_the_process(make: Any) -> None:
    queue, sent = shoal.Queue(), make(16 * MIB)
    assert python_memory_needed(lambda: queue.put(sent)) < MIB
    queue.get()


def test_taking_a_buffer_takes_no_memory_of_the_process_and_bytes_no_more_than_they_are() -> None:
    queue = shoal.Queue()
    queue.put(blob(16 * MIB))
    assert python_memory_needed(queue.get) < MIB
    for kind in (bytes, bytearray):
        queue.put(kind(16 * MIB))
        assert 16 * MIB <= python_memory_needed(queue.get) < 17 * MIB


# --- when the memory is given back


def test_memory_is_given_back_when_the_last_view_dies_in_any_order() -> None:
    queue = shoal.Queue()
    order = random.Random(1)
    held: list[Any] = []
    for seed in range(200):
        queue.put(blob(MIB, seed))
        held.append(queue.get().data)
        if len(held) == 4:
            view = held.pop(order.randrange(4))
            part = view[100:200]
            del view
            assert bytes(part)  # a part of it keeps it all
        if seed % 10 == 0:
            held.append(memoryview(held[-1]))
            del held[0]
    assert shared_memory_of(queue) < 16 * MIB


def test_held_views_keep_their_contents_while_others_come_and_go() -> None:
    queue = shoal.Queue()
    held = {seed: through(queue, blob(200_000, seed)).data for seed in range(10)}
    for seed in range(10, 60):
        through(queue, blob(200_000, seed))
    for seed, view in held.items():
        assert view == pattern(200_000, seed)[:200_000]


def test_views_may_die_in_another_thread_than_they_were_received_in() -> None:
    queue = shoal.Queue()
    dropped = 0

    def drop(views: list[Any]) -> None:
        nonlocal dropped
        while views:
            assert views.pop() is not None
            dropped += 1

    for _ in range(10):
        views = [through(queue, blob(MIB, seed)).data for seed in range(4)]
        thread = threading.Thread(target=drop, args=(views,))
        thread.start()
        thread.join()
    assert dropped == 40
    assert shared_memory_of(queue) < 16 * MIB


def test_a_view_outlives_its_queue() -> None:
    queue = shoal.Queue()
    view = through(queue, blob(MIB)).data
    del queue
    gc.collect()
    assert view == pattern(MIB)[:MIB]


def test_a_pickle_that_cannot_be_loaded_gives_its_memory_back() -> None:
    queue = shoal.Queue()
    for _ in range(50):
        queue.put(Unloadable())
        with pytest.raises(ZeroDivisionError):
            queue.get(timeout=30)
    gc.collect()
    assert shared_memory_of(queue) < 16 * MIB


def refuse(*_: Any) -> None:
    raise ZeroDivisionError("cannot be loaded")


class Unloadable:
    def __reduce_ex__(self, protocol: Any) -> Any:
        return refuse, (pickle.PickleBuffer(bytearray(MIB)),)


def hold_one(queue: Any, holding: Any) -> None:
    view = queue.get().data
    holding.set()
    signal.pause()
    del view


def test_what_a_killed_process_held_comes_back() -> None:
    queue = shoal.Queue()
    for _ in range(8):
        holding = shoal.Event()
        child = shoal.Process(target=hold_one, args=(queue, holding))
        queue.put(blob(4 * MIB))
        child.start()
        assert holding.wait(30)
        child.kill()
        child.join()
    for seed in range(20):
        through(queue, blob(4 * MIB, seed))
    assert shared_memory_of(queue) < 20 * MIB


def look_after_the_parent(view: Any, dropped: Any, answers: Any) -> None:
    assert dropped.wait(30)
    answers.put(bytes(view) == pattern(MIB)[:MIB])


def test_a_forked_child_may_go_on_reading_what_its_parent_has_dropped() -> None:
    context = shoal.get_context("fork")
    queue, answers, dropped = context.Queue(), context.Queue(), context.Event()
    view = through(queue, blob(MIB)).data
    child = context.Process(target=look_after_the_parent, args=(view, dropped, answers))
    child.start()
    del view  # the process has dropped its arguments
    gc.collect()
    for seed in range(1, 10):
        through(queue, blob(MIB, seed))
    dropped.set()
    assert answers.get(timeout=30) is True
    child.join()


# --- code that runs in between


class PutsMore:
    """Its reducer uses the same queue."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue

    def __reduce__(self) -> Any:
        self.queue.put(["inner", pattern(40_000), blob(50_000, 5)])
        return Blob, (pickle.PickleBuffer(bytearray(pattern(60_000))), "outer")


def test_a_reducer_may_itself_put() -> None:
    queue = shoal.Queue()
    queue.put([PutsMore(queue), pattern(70_000)])
    inner, outer = queue.get(timeout=30), queue.get(timeout=30)
    assert inner[:2] == ["inner", pattern(40_000)]
    assert inner[2].data == pattern(50_000, 5)[:50_000]
    assert outer[0].data == pattern(60_000)
    assert outer[1] == pattern(70_000)


def test_a_finalizer_may_itself_put_whenever_the_garbage_collector_runs() -> None:
    queue = shoal.Queue()

    class Cyclic:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            queue.put(["finalized", pattern(40_000, 1)])

    before = gc.get_threshold()
    for sent in (["large", blob(50_000, 2)], ["bytes", pattern(40_000, 3)], [{"pickled"}, pattern(100_000, 4)]):
        # The collector starts at every one of the first allocations of the call once.
        for allocations in range(1, 20):
            gc.collect()
            gc.disable()
            Cyclic()
            gc.set_threshold(allocations)
            gc.enable()
            try:
                queue.put(sent)
            finally:
                gc.set_threshold(*before)
            gc.collect()
            got = [queue.get(timeout=30), queue.get(timeout=30)]
            got.sort(key=lambda item: item[0] == "finalized")
            assert got[0][0] == sent[0]
            assert getattr(got[0][1], "data", got[0][1]) == getattr(sent[1], "data", sent[1])
            assert got[1] == ["finalized", pattern(40_000, 1)]


def test_several_threads_may_put_large_data_at_once() -> None:
    queue = shoal.Queue()

    def put_all(first: int) -> None:
        for seed in range(first, first + 10):
            queue.put([seed, pattern(2 * MIB, seed), blob(2 * MIB, seed)])

    threads = [threading.Thread(target=put_all, args=(first,)) for first in (0, 10, 20)]
    for thread in threads:
        thread.start()
    seeds = []
    for _ in range(30):
        seed, data, view = queue.get(timeout=30)
        assert data == pattern(2 * MIB, seed)
        assert view.data == pattern(2 * MIB, seed)[: 2 * MIB]
        seeds.append(seed)
    for thread in threads:
        thread.join()
    assert sorted(seeds) == list(range(30))


# --- what is wrong


def test_a_buffer_that_pickle_refuses_is_refused_alike() -> None:
    scattered = memoryview(bytearray(MIB))[::2]
    for encode in (_core.encode, lambda obj: pickle.dumps(obj, 5)):
        with pytest.raises(pickle.PicklingError, match="non-contiguous"):
            encode(Blob(scattered))


def test_every_truncation_of_the_head_is_corrupt() -> None:
    tag, whole = _core.encode([blob(20_000, seed) for seed in range(3)])
    assert tag == PICKLE_BUFFERS
    for size in [*range(40), len(whole) - 1, len(whole) - 20_000, len(whole) - 20_001]:
        with pytest.raises(CorruptRecord):
            _core.decode(tag, whole[:size])


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 100), min_size=2, max_size=5))
@settings(deadline=None)
def test_any_head_is_decoded_or_called_corrupt(words: list[int]) -> None:
    head = b"".join(word.to_bytes(8, sys.byteorder) for word in words)
    with pytest.raises((CorruptRecord, pickle.UnpicklingError, EOFError)):
        _core.decode(PICKLE_BUFFERS, head + b"\x80")


# --- NumPy


def test_numpy_arrays_come_out_as_views_of_shared_memory() -> None:
    np = pytest.importorskip("numpy")
    queue = shoal.Queue()
    for sent in (
        np.arange(10_000.0),
        np.arange(60_000, dtype="i2").reshape(3, 100, 200),
        np.asfortranarray(np.arange(10_000.0).reshape(100, 100)),
        np.zeros(5_000, dtype=[("a", "i4"), ("b", "f8")]),
    ):
        got = through(queue, sent)
        assert type(got) is np.ndarray
        assert got.dtype == sent.dtype
        assert got.shape == sent.shape
        assert got.flags == sent.flags or not got.flags.owndata
        assert got.flags.writeable
        assert got.flags.aligned
        assert (got == sent).all()
        assert got.ctypes.data % 64 == 0
        assert is_shared_memory(got.reshape(-1, order="A").view("u1"))


def test_numpy_arrays_that_cannot_go_out_of_band_come_out_all_the_same() -> None:
    np = pytest.importorskip("numpy")
    for sent in (
        np.arange(20_000.0)[::2],
        np.arange(3.0),
        np.array([], dtype="f4"),
        np.array([{"a": 1}, None] * 10_000, dtype=object),
        np.arange(40_000.0).reshape(200, 200)[::3, ::2],
    ):
        got = through(shoal.Queue(), sent)
        theirs = with_pickle(sent)
        assert got.dtype == theirs.dtype
        assert got.shape == theirs.shape
        assert got.tolist() == theirs.tolist()
        assert got.flags.writeable


def test_a_read_only_numpy_array_comes_out_read_only() -> None:
    np = pytest.importorskip("numpy")
    sent = np.arange(10_000.0)
    sent.flags.writeable = False
    got = through(shoal.Queue(), sent)
    assert not got.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        got[0] = 1


def test_an_object_that_holds_a_large_array_is_pickled_as_a_whole() -> None:
    np = pytest.importorskip("numpy")
    sent = {"name": "x", "array": np.arange(10_000.0), "again": np.ones(10_000)}
    assert encoding_of(sent) == PICKLE_BUFFERS
    got = through(shoal.Queue(), sent)
    assert (got["array"] == sent["array"]).all()
    assert (got["again"] == sent["again"]).all()


def test_plain_large_bytes_stay_readable_to_other_languages() -> None:
    assert encoding_of(pattern(MIB)) == MSGPACK
    assert encoding_of(("name", pattern(MIB))) == MSGPACK
