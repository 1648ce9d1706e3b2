"""What crosses a queue is what pickle would have made of it, whichever of the two encodings carried it."""

from __future__ import annotations

import contextlib
import math
import pickle
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
from codec_support import MSGPACK, PICKLE, encoding_of, same, there_and_back, with_pickle
from hypothesis import given, settings
from hypothesis import strategies as st
from shoal import CorruptRecord, _core

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**64), 2**64)
    | st.floats()
    | st.text(st.characters())  # lone surrogates included
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)


class Node:
    """An ordinary class, whose instances have whatever attributes a test gives them."""

    def __init__(self, attributes: dict[Any, Any]) -> None:
        self.__dict__.update(attributes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return 0


def sharing(attributes: dict[Any, Any]) -> list[Node]:
    """Two instances with one __dict__."""
    one, other = Node(attributes), Node({})
    other.__dict__ = one.__dict__
    return [one, other]


keys = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text())
names = st.text(st.characters()) | st.sampled_from(["x", "__x", "__module__", "__slots__"])
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(keys, inner)
        | st.sets(st.integers())
        | st.lists(inner).map(lambda items: [items, items])  # one object, met twice
        | st.lists(inner).map(lambda items: (tuple(items), {"again": items, "once more": items}))
        | st.dictionaries(names, inner).map(Node)
        | st.dictionaries(names, inner).map(Node).map(lambda node: [node, (node, node.__dict__)])
        | st.dictionaries(names, inner).map(sharing)
        | st.dictionaries(st.dictionaries(names, st.integers()).map(Node), inner)
    ),
    max_leaves=30,
)


@given(trees)
@settings(max_examples=500, deadline=None)
def test_any_object_comes_back_as_from_pickle(obj: Any) -> None:
    assert same(there_and_back(obj), with_pickle(obj))


@pytest.mark.parametrize(
    "obj",
    [
        None, True, False, 0, -1, 127, 128, 2**63 - 1, -(2**63), 1.5, -0.0, math.inf, "", "text", "ünïcödé \U0001f41f",
        b"", b"bytes", b"x" * 100_000, [], [1, [2, [3]]], (), (1, ("a", b"b"), []), {}, {"a": 1, 2: None, (3, 4): [5]},
    ],
)  # fmt: skip
def test_exact_builtin_objects_need_no_pickle(obj: Any) -> None:
    assert encoding_of(obj) == MSGPACK
    assert same(there_and_back(obj), obj)


class Text(str):
    pass


class Items(list):  # type: ignore[type-arg]
    pass


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "obj",
    [
        2**63, -(2**63) - 1, "\ud800", Text("x"), Items([1]), Point(1, 2), OrderedDict(a=1), {1, 2}, bytearray(b"x"),
        1j, print, Point, [Text("x")], {"k": {1}},
    ],
)  # fmt: skip
def test_everything_else_is_pickled_and_keeps_its_type(obj: Any) -> None:
    assert encoding_of(obj) == PICKLE
    assert same(there_and_back(obj), obj)


def test_a_container_met_twice_stays_one_object() -> None:
    row = [1, 2]
    back = there_and_back({"first": row, "second": row})
    assert back["first"] is back["second"]
    pair = (object, 1)
    back = there_and_back([pair, pair])
    assert back[0] is back[1]


def test_a_container_that_something_else_refers_to_as_well_needs_no_pickle() -> None:
    row = [1, 2]
    assert encoding_of([row, 3]) == MSGPACK


def test_many_containers_that_something_else_refers_to_need_no_pickle() -> None:
    rows = [[i] for i in range(10_000)]
    assert encoding_of(rows) == MSGPACK
    assert encoding_of(list(rows)) == MSGPACK
    assert encoding_of([*rows, rows[5_000]]) == PICKLE
    back = there_and_back([*rows, rows[5_000]])
    assert back[-1] is back[5_000]


def test_large_bytes_and_strings_keep_their_place_among_other_items() -> None:
    text, data = "ü" * 10_000, bytes(range(256)) * 100
    obj = [1, (data, [text, (2, data + b"x"), {"k": data}], "end"), text, 3]
    assert encoding_of(obj) == MSGPACK
    assert there_and_back(obj) == obj


def test_a_cycle_comes_back_as_a_cycle() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    back = there_and_back(ring)
    assert back[1] is back


def test_deep_nesting_is_pickled() -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    assert encoding_of(deep) == PICKLE
    assert same(there_and_back(deep), deep)


def test_nesting_too_deep_for_pickle_as_well_is_an_error_not_a_crash() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecursionError):
        _core.encode(deep)
    while deep:  # taken apart step by step, for interpreters that free it recursively
        deep = deep.pop()


@pytest.mark.parametrize("obj", [lambda: None, open(__file__), [1, {"x": (y for y in [])}]])  # noqa: SIM115
def test_what_cannot_be_pickled_raises_as_pickle_does(obj: Any) -> None:
    with pytest.raises((pickle.PicklingError, TypeError, AttributeError)) as ours:
        _core.encode(obj)
    with pytest.raises(ours.type):
        pickle.dumps(obj)


def test_an_error_in_a_reducer_reaches_the_caller() -> None:
    class Odd:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError("odd")

    with pytest.raises(ZeroDivisionError, match="odd"):
        _core.encode(Odd())


def test_reducers_registered_with_multiprocessing_are_used() -> None:
    from multiprocessing.reduction import ForkingPickler

    class Registered:
        pass

    ForkingPickler.register(Registered, lambda _: (complex, (1, 2)))
    assert there_and_back(Registered()) == 1 + 2j


def test_integers_past_63_bits_from_other_languages_are_read() -> None:
    assert _core.decode(MSGPACK, b"\xcf" + b"\xff" * 8) == 2**64 - 1


def test_raw_records_are_bytes() -> None:
    assert _core.decode(0, b"\x01\x02") == b"\x01\x02"


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_any_bytes_decode_or_are_called_corrupt(data: bytes) -> None:
    with contextlib.suppress(CorruptRecord, UnicodeDecodeError, TypeError):  # TypeError: an unhashable key
        _core.decode(MSGPACK, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdb\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x91",
        b"\x01\x02",
        b"\xd4\x05x",
        b"\x91" * 1000,
    ],
)
def test_corrupt_records_are_named_so(data: bytes) -> None:
    with pytest.raises(CorruptRecord):
        _core.decode(MSGPACK, data)


def test_an_unknown_encoding_is_corrupt() -> None:
    with pytest.raises(CorruptRecord, match="encoding 77"):
        _core.decode(77, b"")


def test_strings_that_resemble_each_other_are_kept_apart() -> None:
    rows = [{f"key{i}": i, "\0" * (i % 5): i} for i in range(3000)]
    assert there_and_back(rows) == rows
