"""Classes that change, and classes that are others at the receiver's end: instances follow, as with pickle."""

from __future__ import annotations

import copyreg
import pickle
import sys
from collections.abc import Callable, Iterator
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest
from codec_support import MSGPACK, PICKLE, encoding_of, outcome, same, there_and_back, with_pickle
from instance_support import (
    Color,
    Frozen,
    GetState,
    Guarded,
    Meta,
    OfMeta,
    Outer,
    OwnNew,
    Point,
    Reduce,
    SetState,
    Shape,
    Slots,
    with_attributes,
)
from shoal import CorruptRecord, _core

HERE = sys.modules[__name__]


# --- classes and reducers that change


class Changing:
    def __init__(self) -> None:
        self.a = 1


class ChangingBelow(Changing):
    pass


@pytest.fixture
def changing(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Both classes have been encoded before, and are as they were afterwards."""
    for cls in (Changing, ChangingBelow):
        assert encoding_of(cls()) == MSGPACK
    with monkeypatch.context() as patch:
        yield patch
    for cls in (Changing, ChangingBelow):
        assert encoding_of(cls()) == MSGPACK


@pytest.mark.parametrize("cls", [Changing, ChangingBelow])
def test_a_reducer_that_a_class_gets_later_is_used(cls: Any, changing: pytest.MonkeyPatch) -> None:
    changing.setattr(Changing, "__reduce__", lambda self: (Point, (1, 2)), raising=False)
    assert there_and_back(cls()) == Point(1, 2)


def test_a_reducer_registered_with_copyreg_later_is_used(changing: pytest.MonkeyPatch) -> None:
    changing.setitem(copyreg.dispatch_table, Changing, lambda _: (Point, (3, 4)))
    assert there_and_back(Changing()) == Point(3, 4)
    assert encoding_of(ChangingBelow()) == MSGPACK


def test_a_reducer_registered_with_multiprocessing_later_is_used(changing: pytest.MonkeyPatch) -> None:
    changing.setitem(ForkingPickler._extra_reducers, Changing, lambda _: (Point, (5, 6)))  # type: ignore[attr-defined]
    assert there_and_back(Changing()) == Point(5, 6)


def test_a_reducer_registered_for_a_metaclass_is_used(changing: pytest.MonkeyPatch) -> None:
    assert encoding_of(OfMeta()) != 0
    changing.setitem(copyreg.dispatch_table, Meta, lambda _: "Empty")
    theirs = outcome(lambda: pickle.dumps(with_attributes(OfMeta, a=1), 5))
    assert outcome(lambda: _core.encode(with_attributes(OfMeta, a=1))) == theirs


def test_a_class_that_is_renamed_is_looked_for_under_its_new_name(changing: pytest.MonkeyPatch) -> None:
    obj = Changing()
    cls = Changing
    for name, value in (("__qualname__", "Point"), ("__module__", "no.such.module"), ("__module__", 5)):
        before = getattr(cls, name)
        setattr(cls, name, value)
        ours, theirs = outcome(lambda: _core.encode(obj)), outcome(lambda: pickle.dumps(obj, 5))
        setattr(cls, name, before)
        assert ours == theirs
        assert ours[0] != "returned"


def test_a_class_whose_name_means_something_else_by_now_is_refused_as_by_pickle(changing: pytest.MonkeyPatch) -> None:
    obj = Changing()
    changing.setattr(HERE, "Changing", Point)
    ours, theirs = outcome(lambda: _core.encode(obj)), outcome(lambda: pickle.dumps(obj, 5))
    assert ours == theirs
    assert ours[0] == "PicklingError"


def test_a_class_in_the_place_of_another_that_is_gone_is_looked_at_anew(changing: pytest.MonkeyPatch) -> None:
    for round_number in range(200):
        cls = type(
            "Changing", (), {"__module__": __name__} | ({"__reduce__": Reduce.__reduce__} if round_number % 2 else {})
        )
        changing.setattr(HERE, "Changing", cls)
        obj = with_attributes(cls, a=round_number)
        assert encoding_of(obj) == (PICKLE if round_number % 2 else MSGPACK)
        assert same(there_and_back(obj), with_pickle(obj))
        del cls, obj


# --- the receiver's side


def both_outcomes(sent: tuple[int, bytes], pickled: bytes) -> tuple[Any, Any]:
    return outcome(lambda: _core.decode(*sent)), outcome(lambda: pickle.loads(pickled))


@pytest.mark.parametrize(
    "there",
    [
        None,
        5,
        len,
        lambda: None,
        type("Other", (), {"a": 1}),
        SetState,
        OwnNew,
        Slots,
        GetState,
        Shape,
        int,
        Color,
        Guarded,
    ],
    ids=repr,
)
def test_another_class_under_that_name_is_filled_as_by_pickle(there: Any, changing: pytest.MonkeyPatch) -> None:
    obj = Changing()
    sent, pickled = _core.encode(obj), pickle.dumps(obj, 5)
    changing.setattr(HERE, "Changing", there)
    ours, theirs = both_outcomes(sent, pickled)
    assert ours[0] == theirs[0]
    assert same(ours[1], theirs[1])


def test_a_class_that_is_missing_is_named_as_by_pickle(changing: pytest.MonkeyPatch) -> None:
    for obj in (Changing(), with_attributes(Outer.Inner, a=1)):
        sent, pickled = _core.encode(obj), pickle.dumps(obj, 5)
        with changing.context() as patch:
            patch.delattr(HERE, "Changing")
            patch.delattr(Outer, "Inner")
            ours, theirs = both_outcomes(sent, pickled)
            assert ours == theirs
            assert ours[0] == "AttributeError"


def test_a_missing_module_is_named_as_by_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_of_a_class.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import module_of_a_class  # type: ignore[import-not-found]

    obj = with_attributes(module_of_a_class.Thing, a=1)
    sent, pickled = _core.encode(obj), pickle.dumps(obj, 5)
    assert sent[0] == MSGPACK
    monkeypatch.delitem(sys.modules, "module_of_a_class")
    back = _core.decode(*sent)  # imports it
    assert type(back) is sys.modules["module_of_a_class"].Thing
    assert back.a == 1
    monkeypatch.delitem(sys.modules, "module_of_a_class")
    monkeypatch.setattr(sys, "path", [])
    ours, theirs = both_outcomes(sent, pickled)
    assert ours == theirs
    assert ours[0] == "ModuleNotFoundError"


def test_audit_hooks_hear_of_each_class_as_from_pickle(run: Callable[..., Any], program: Callable[..., Path]) -> None:
    ended = run(
        str(
            program(
                """
                import sys
                from fractions import Fraction
                from shoal import CorruptRecord, _core

                class Ordinary:
                    pass

                obj = Ordinary()
                obj.a = 1
                sent = _core.encode(obj)
                sys.addaudithook(lambda event, args: event == "pickle.find_class" and print(*args))
                for _ in range(2):
                    _core.decode(*sent)
                """
            )
        )
    )
    assert ended.out.split() == ["__main__", "Ordinary"] * 2, ended


def test_python_code_that_runs_while_an_instance_is_rebuilt_may_decode_others() -> None:
    obj = {Frozen(number): Point(number, Frozen(number)) for number in range(100)}
    sent = _core.encode(obj)
    hashed = []

    def hash_and_decode(self: Frozen) -> int:
        hashed.append(_core.decode(*_core.encode([Point(0, self.x)] * 2)))
        return self.x

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Frozen, "__hash__", hash_and_decode)
        back = _core.decode(*sent)
    assert [key.x for key in back] == list(range(100))
    assert len(hashed) == 100


@pytest.mark.parametrize(
    "data",
    [
        b"\xc7\x00\x02",  # nothing
        b"\xd4\x02\x90",  # no items
        b"\xc7\x05\x02\x93\xa1a\xa1b",  # two of three
        b"\xc7\x06\x02\x93\x01\xa1b\xc0\xc0",  # a number for a module
        b"\xd4\x05x",  # another extension
    ],
)
def test_corrupt_instances_are_named_so(data: bytes) -> None:
    with pytest.raises(CorruptRecord):
        _core.decode(MSGPACK, data)


def test_bytes_behind_an_instance_inside_its_extension_are_corrupt() -> None:
    head, size, *rest = _core.encode(Point(1, 2))[1]
    with pytest.raises(CorruptRecord):
        _core.decode(MSGPACK, bytes([head, size + 1, *rest, 0xC0]))
