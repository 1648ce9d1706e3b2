"""Instances of ordinary classes cross without pickle, and nobody can tell."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from codec_support import MSGPACK, PICKLE, encoding_of, outcome, same, there_and_back, with_pickle
from instance_support import (
    Box,
    Color,
    Derived,
    DictKind,
    DictProperty,
    Empty,
    Frozen,
    GetAttr,
    GetAttribute,
    GetState,
    Guarded,
    Items,
    LateSlots,
    Mapping,
    NewArguments,
    Number,
    OddError,
    OfMeta,
    OfMetaWithAttributes,
    OfMetaWithHash,
    OfMetaWithModule,
    OnlyNewArguments,
    OnlyNewKeywordArguments,
    OnNoSlots,
    OtherClass,
    Outer,
    OwnNew,
    Point,
    Reduce,
    ReduceEx,
    SetState,
    SlotNames,
    Slots,
    SlotsAndDict,
    Square,
    StrKey,
    Text,
    with_attributes,
)
from shoal import _core


@pytest.mark.parametrize(
    "obj",
    [
        Point(1, "two"), Point(1, Point(2, [Point(3, None)])), Frozen(1), Derived(1, 2), Box([1.5]),
        with_attributes(Outer.Inner, a=1), Square(), with_attributes(OfMeta, a=1), with_attributes(OnNoSlots, a=1),
        Guarded(), with_attributes(Empty, __x=1, _y=2, _Empty__z=3), {"k": (Point(1, 2), Frozen(3))},
        {Frozen(1): Frozen(2)},
    ],
    ids=repr,
)  # fmt: skip
def test_instances_of_ordinary_classes_need_no_pickle(obj: Any) -> None:
    assert encoding_of(obj) == MSGPACK
    assert same(there_and_back(obj), with_pickle(obj))


def test_an_instance_without_attributes_comes_back_without_any() -> None:
    assert same(there_and_back(Empty()), with_pickle(Empty()))


def test_attribute_names_are_interned_as_with_pickle() -> None:
    obj = with_attributes(Empty, **{f"attribute_{id(object())}": 1})
    (ours,), (theirs,) = vars(there_and_back(obj)), vars(with_pickle(obj))
    assert ours is theirs


def test_an_instance_met_twice_stays_one_object() -> None:
    point = Point(1, 2)
    back = there_and_back([point, {"again": point}])
    assert back[0] is back[1]["again"]


def test_a_cycle_through_an_instance_comes_back_as_a_cycle() -> None:
    point = Point(1, None)
    point.y = [point]
    back = there_and_back(point)
    assert back.y[0] is back


def test_what_two_instances_share_by_one_dict_stays_shared() -> None:
    one, other = Point(1, []), Empty()
    other.__dict__ = one.__dict__
    back = there_and_back([one, other])
    assert back[0].y is back[1].y


def test_deep_chains_of_instances_are_pickled() -> None:
    chain = None
    for depth in range(100):
        chain = Point(depth, chain)
    assert encoding_of(chain) == PICKLE
    assert same(there_and_back(chain), chain)


# --- what pickle has to do


def odd_key(key: Any) -> Any:
    made = Empty()
    made.__dict__[key] = 1
    return made


def odd_dict() -> Any:
    made = Empty()
    made.__dict__ = DictKind(a=1)
    return made


def reducing_itself() -> Any:
    made = Empty()
    made.__reduce_ex__ = lambda _: (Point, (1, 2))  # type: ignore[method-assign]
    return made


def stating_itself() -> Any:
    made = Empty()
    made.__getnewargs_ex__ = lambda: ((), {})  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(
    "make",
    [
        Reduce, ReduceEx, GetState, SetState, NewArguments, OnlyNewArguments, OnlyNewKeywordArguments, OwnNew, Slots,
        SlotsAndDict, LateSlots, SlotNames, GetAttr, GetAttribute, DictProperty, OtherClass, Items, Mapping, Number,
        Text, OddError, OfMetaWithAttributes, OfMetaWithModule, OfMetaWithHash, lambda: Color.RED, lambda: odd_key(1),
        lambda: odd_key(StrKey("a")), lambda: odd_key("\ud800"), odd_dict, reducing_itself, stating_itself,
        lambda: with_attributes(Empty, a={1}),
    ],
)  # fmt: skip
def test_instances_that_pickle_treats_in_another_way_are_left_to_it(make: Callable[[], Any]) -> None:
    obj = make()
    ours = outcome(lambda: _core.encode(obj)[0])
    theirs = outcome(lambda: pickle.dumps(obj, 5))
    if theirs[0] != "returned":
        assert ours == theirs
    else:
        assert ours == ("returned", PICKLE)
        assert same(there_and_back(obj), with_pickle(obj))


@pytest.mark.skipif(sys.version_info >= (3, 11), reason="pickle sends no state there")
def test_an_instance_without_attributes_is_pickled_where_pickle_sends_an_empty_state() -> None:
    assert encoding_of(Empty()) == PICKLE


def test_a_class_that_cannot_be_found_by_its_name_is_refused_as_by_pickle() -> None:
    class Local:
        pass

    class Elsewhere:
        __module__ = "no.such.module"
        __qualname__ = "Elsewhere"

    class Impostor:
        __qualname__ = "Point"

    class Nameless:
        __module__ = None  # type: ignore[assignment]

    for obj in (Local(), Elsewhere(), Impostor(), Nameless()):
        ours, theirs = outcome(partial(_core.encode, obj)), outcome(partial(pickle.dumps, obj, 5))
        assert ours == theirs
        assert ours[0] != "returned"
