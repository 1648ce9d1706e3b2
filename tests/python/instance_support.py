"""Classes whose instances the tests send: ordinary ones, and such as pickle treats in another way."""

from __future__ import annotations

import abc
import enum
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

T = TypeVar("T")


@dataclass
class Point:
    x: int
    y: Any


@dataclass(frozen=True)
class Frozen:
    x: int


class Empty:
    pass


class Derived(Point):
    pass


class Outer:
    class Inner(Empty):
        pass


class Box(Generic[T]):
    def __init__(self, item: T) -> None:
        self.item = item


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self) -> float: ...


class Square(Shape):
    def __init__(self) -> None:
        self.side = 2.0

    def area(self) -> float:
        return self.side**2


class Meta(type):
    pass


class OfMeta(metaclass=Meta):
    pass


class NoSlots:
    __slots__ = ()


class OnNoSlots(NoSlots):
    pass


class Guarded:
    """Pickle sets no attribute through the class: neither by __setattr__, nor by a property of its name."""

    def __init__(self) -> None:
        self.__dict__["value"] = 7

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("read-only")

    @property
    def value(self) -> Any:
        raise AttributeError("not to be seen")


def with_attributes(cls: Any, **attributes: Any) -> Any:
    made = cls.__new__(cls)
    made.__dict__.update(attributes)
    return made


# --- what pickle has to do


class Reduce:
    def __reduce__(self) -> Any:
        return Point, (1, 2)


class ReduceEx:
    def __reduce_ex__(self, protocol: Any) -> Any:
        return Point, (protocol, 2)


class GetState:
    def __getstate__(self) -> Any:
        return {"from": "getstate"}


class SetState:
    def __init__(self) -> None:
        self.a = 1

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state, set=True)


class NewArguments:
    def __new__(cls, *_: Any) -> Any:
        return object.__new__(cls)

    def __getnewargs__(self) -> Any:
        return (1,)


class OnlyNewArguments:
    def __getnewargs__(self) -> Any:
        return ()


class OnlyNewKeywordArguments:
    def __getnewargs_ex__(self) -> Any:
        return (), {}


class OwnNew:
    def __new__(cls) -> Any:
        made: Any = object.__new__(cls)
        made.made = True
        return made


class Slots:
    __slots__ = ("a",)

    def __init__(self) -> None:
        self.a = 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slots) and other.a == self.a


class SlotsAndDict(Slots):
    def __init__(self) -> None:
        super().__init__()
        self.b = 2


class LateSlots:
    late = 3


LateSlots.__slots__ = ("late",)  # type: ignore[attr-defined]


class SlotNames:
    __slotnames__: ClassVar[list[str]] = ["named"]
    named = 4


class GetAttr:
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class GetAttribute:
    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, name)


class DictProperty:
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return {}


class OtherClass:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return Empty


class Items(list):  # type: ignore[type-arg]
    pass


class Mapping(dict):  # type: ignore[type-arg]
    pass


class Number(int):
    pass


class Text(str):
    pass


class OddError(Exception):
    pass


class Color(enum.Enum):
    RED = 1


class MetaWithAttributes(type):
    def __getattribute__(cls, name: str) -> Any:
        return super().__getattribute__(name)


class OfMetaWithAttributes(metaclass=MetaWithAttributes):
    pass


class MetaWithModule(type):
    @property
    def __module__(cls) -> str:  # type: ignore[override]
        return __name__


class OfMetaWithModule(metaclass=MetaWithModule):
    pass


class MetaWithHash(type):
    def __hash__(cls) -> int:
        return 1


class OfMetaWithHash(metaclass=MetaWithHash):
    pass


class StrKey(str):
    pass


class DictKind(dict):  # type: ignore[type-arg]
    pass
