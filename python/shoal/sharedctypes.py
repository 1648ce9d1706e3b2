"""Numbers, arrays and ctypes objects in shared memory, as in `multiprocessing.sharedctypes`.

`Value` and `Array` are classes here. Their memory lies in arenas of shared memory, where ten thousand of them take a
few descriptors, and leaves no file behind. They, and the raw objects, get into other processes as a `Lock` does: as
arguments of a process, through connections and through queues.

For the simple types of ctypes, elements and slices are converted by the native core, exactly as by ctypes; everything
else is left to ctypes.
"""

from __future__ import annotations

import ctypes
import weakref
from types import GenericAlias

from shoal import _core, _stdlib, synchronize
from shoal._arena_slots import location_in, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from multiprocessing.context import BaseContext
    from typing import Any, Generic, Literal, TypeVar, overload

    from typing_extensions import Buffer

    T = TypeVar("T")
    _IntegerCode = Literal["b", "B", "h", "H", "i", "I", "l", "L", "q", "Q"]
    _FloatCode = Literal["f", "d"]
else:
    T = Any = object  # type variables are for type checkers

    class Generic:
        __slots__ = ()
        # Subscripting is for annotations: it makes no class.
        __class_getitem__ = classmethod(GenericAlias)


__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

typecode_to_type: dict[str, Any] = {
    "c": ctypes.c_char,
    "u": ctypes.c_wchar,
    "b": ctypes.c_byte,
    "B": ctypes.c_ubyte,
    "h": ctypes.c_short,
    "H": ctypes.c_ushort,
    "i": ctypes.c_int,
    "I": ctypes.c_uint,
    "l": ctypes.c_long,
    "L": ctypes.c_ulong,
    "q": ctypes.c_longlong,
    "Q": ctypes.c_ulonglong,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
}

# What the native core knows how to convert. By identity: a subclass, or the same number in another byte order, has the
# same `_type_` and behaves differently.
_native_codes: dict[Any, str] = {type_: type_._type_ for type_ in (*typecode_to_type.values(), ctypes.c_bool)}


def __getattr__(name: str) -> Any:
    return _stdlib.attribute_for(__name__, name)


class _Block(_core.SharedBlock):
    """Shared memory for one ctypes object, in place of `multiprocessing.heap.BufferWrapper`."""

    def create_memoryview(self) -> memoryview:
        return memoryview(self)

    def __getstate__(self) -> tuple[int, tuple[Any, int]]:
        return len(self), state_of(self)

    def __setstate__(self, state: tuple[int, tuple[Any, int]]) -> None:
        size, place = state
        with location_in(place) as location:
            _core.SharedBlock.__init__(self, size, attach=location)


# --- Raw objects ------------------------------------------------------------------------------------------------------


def _new_value(type_: Any) -> Any:
    return rebuild_ctype(type_, _Block(ctypes.sizeof(type_)), None)


def RawValue(typecode_or_type: Any, *args: Any) -> Any:  # noqa: N802
    """A ctypes object in shared memory, without a lock.

    `typecode_or_type` is a ctypes type or one of the letters of module `array` (and "c" for a byte); `args` are what
    its constructor takes.
    """
    made = _new_value(typecode_to_type.get(typecode_or_type, typecode_or_type))
    made.__init__(*args)
    return made


def RawArray(typecode_or_type: Any, size_or_initializer: int | Sequence[Any]) -> Any:  # noqa: N802
    """An array of ctypes in shared memory, without a lock: of that many zeros, or of what is in a sequence."""
    type_ = typecode_to_type.get(typecode_or_type, typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _new_value(type_ * size_or_initializer)
    count = len(size_or_initializer)
    made = _new_value(type_ * count)
    code = _native_codes.get(type_)
    if code is None or not _core.fill_block(made._wrapper, code, size_or_initializer, count):
        made.__init__(*size_or_initializer)
    return made


def copy(obj: Any) -> Any:
    """A copy of a ctypes object, in shared memory."""
    made = _new_value(type(obj))
    ctypes.pointer(made)[0] = obj
    return made


def reduce_ctype(obj: Any) -> Any:
    """How a raw object is pickled for another process."""
    wrapper = getattr(obj, "_wrapper", None)
    if wrapper is None:  # of the same type as a shared one, but not shared
        return obj.__reduce__()
    if isinstance(obj, ctypes.Array):
        return rebuild_ctype, (obj._type_, wrapper, obj._length_)
    return rebuild_ctype, (type(obj), wrapper, None)


def rebuild_ctype(type_: Any, wrapper: Any, length: int | None) -> Any:
    """The ctypes object of that type, or the array of `length` such, over the memory of `wrapper`."""
    if length is not None:
        type_ = type_ * length
    _stdlib.reduction.ForkingPickler.register(type_, reduce_ctype)
    obj = type_.from_buffer(wrapper.create_memoryview())
    obj._wrapper = wrapper
    return obj


# --- Objects with a lock ----------------------------------------------------------------------------------------------


def _new_lock(ctx: Any) -> Any:
    return synchronize.RLock() if ctx is None else ctx.RLock()


class SynchronizedBase(_core.SynchronizedBase, Generic[T]):
    """A ctypes object and the lock that guards it. `with` takes the lock; so do `acquire` and `release`.

    Threads and signals: all methods may be called concurrently, and wait for the lock as it does. fork: the child
    shares memory and lock. Kill-safety: what a killed process had half written stays so; the next one to use a
    `shoal` lock that it held is told by `OwnerDied`, without the lock, and the one after it goes on.
    """

    def __init__(self, obj: Any, lock: Any = None, ctx: BaseContext | None = None) -> None:
        block = getattr(obj, "_wrapper", None)
        is_array = isinstance(obj, ctypes.Array)
        code = _native_codes.get(obj._type_ if is_array else type(obj)) if isinstance(block, _Block) else None
        count = obj._length_ if is_array else -1
        self._bind(obj, lock or _new_lock(ctx), block if code else None, code, count)
        suited = _class_for(type(self), obj)
        if suited is not type(self):
            self.__class__ = suited

    def __reduce__(self) -> Any:
        obj = self.get_obj()
        plain = _declared_class(type(self))
        if getattr(obj, "_wrapper", None) is not None:
            _, obj = reduce_ctype(obj)
        return _rebuild, (plain, obj, self.get_lock()), self.__dict__ or None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} wrapper for {self.get_obj()}>"


def _rebuild(cls: Any, obj: Any, lock: Any) -> Any:
    """What was pickled: `obj` is a ctypes object, or what rebuild_ctype takes."""
    return _wrapped(cls, rebuild_ctype(*obj) if isinstance(obj, tuple) else obj, lock, None)


def _wrapped(cls: Any, obj: Any, lock: Any, ctx: Any) -> Any:
    made = _core.SynchronizedBase.__new__(cls)
    SynchronizedBase.__init__(made, obj, lock, ctx)
    return made


class Synchronized(SynchronizedBase[T], _core.SynchronizedValue):
    """A simple ctypes object with a lock: `value` takes it, `add` and its relatives do without."""

    if TYPE_CHECKING:
        value: T


@_core.with_own_methods
class Value(Synchronized[T]):
    """A number, a character or another ctypes object in shared memory, with a lock, like `multiprocessing.Value`.

    `typecode_or_type` is a ctypes type or a letter ("i", "d", ... as in module `array`, or "c" for a byte), `args` are
    its initial value. `lock` is the lock to use; True makes an `RLock`, and with False the raw ctypes object is
    returned instead of a `Value`. A Structure's fields are attributes.

    `value` reads or writes under the lock. `value += 1` reads and then writes: hold the lock meanwhile
    (`with v.get_lock():`), or use `add`, `fetch_add` or `compare_exchange`. Those are single steps, for integers and
    floats, that neither take nor respect the lock: among themselves they lose nothing, but a `value += 1` of somebody
    who holds the lock may overwrite what was added in between.

    The buffer protocol gives the memory itself: `numpy.asarray(v)` shares it.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # the fields of a Structure

    else:

        def __new__(cls, *args: Any, lock: Any = True, **kwargs: Any) -> Any:
            if lock is False and cls.__init__ is Value.__init__:
                return RawValue(*args)
            return super().__new__(cls)

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: Value[int], typecode_or_type: _IntegerCode, *args: Any, lock: Any = ..., ctx: BaseContext | None = ...
        ) -> None: ...
        @overload
        def __init__(
            self: Value[float], typecode_or_type: _FloatCode, *args: Any, lock: Any = ..., ctx: BaseContext | None = ...
        ) -> None: ...
        @overload
        def __init__(
            self: Value[Any], typecode_or_type: Any, *args: Any, lock: Any = ..., ctx: BaseContext | None = ...
        ) -> None: ...

    def __init__(self, typecode_or_type: Any, *args: Any, lock: Any = True, ctx: BaseContext | None = None) -> None:
        super().__init__(RawValue(typecode_or_type, *args), _checked(lock), ctx)


class SynchronizedArray(SynchronizedBase[Any], _core.SynchronizedArray, Generic[T]):
    """A ctypes array with a lock, which reading and writing elements and slices takes."""

    if TYPE_CHECKING:

        def __len__(self) -> int: ...
        @overload
        def __getitem__(self, i: int) -> T: ...
        @overload
        def __getitem__(self, i: slice) -> list[T]: ...
        def __getitem__(self, i: Any) -> Any: ...
        @overload
        def __setitem__(self, i: int, value: T) -> None: ...
        @overload
        def __setitem__(self, i: slice, value: Sequence[T] | Buffer) -> None: ...
        def __setitem__(self, i: Any, value: Any) -> None: ...
        def __iter__(self) -> Iterator[T]: ...

    def __getslice__(self, start: int, stop: int) -> Any:
        return self[start:stop]

    def __setslice__(self, start: int, stop: int, values: Any) -> None:
        self[start:stop] = values


@_core.with_own_methods
class Array(SynchronizedArray[T]):
    """An array in shared memory, with a lock, like `multiprocessing.Array`.

    `typecode_or_type` is that of the elements, as for `Value`; `size_or_initializer` is how many zeros there are to be,
    or a sequence of the elements. `lock` is as for `Value`.

    Elements and slices are read and written under the lock; to read and then write, hold it meanwhile
    (`with a.get_lock():`), or use `add(index, x)`, `fetch_add` or `compare_exchange`, which are single steps without
    it. A slice is a list, bytes (type "c") or a str (type "u"). An assigned one is converted first, so either all of it
    becomes visible under the lock or none; from a buffer of the same type, such as a NumPy array, it is copied as it
    is.

    The buffer protocol gives the memory itself: `numpy.asarray(a)` and `memoryview(a)` share it, without the lock, and
    keep it in existence. Memory that nobody has written to yet is not allocated.
    """

    if TYPE_CHECKING:
        # Arrays of "c" have them.
        value: bytes
        raw: bytes

    else:

        def __new__(cls, *args: Any, lock: Any = True, ctx: Any = None, **kwargs: Any) -> Any:
            if lock is False and cls.__init__ is Array.__init__:
                return RawArray(*args, **kwargs)
            return super().__new__(cls)

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: Array[int],
            typecode_or_type: _IntegerCode,
            size_or_initializer: int | Sequence[int],
            *,
            lock: Any = ...,
            ctx: BaseContext | None = ...,
        ) -> None: ...
        @overload
        def __init__(
            self: Array[float],
            typecode_or_type: _FloatCode,
            size_or_initializer: int | Sequence[float],
            *,
            lock: Any = ...,
            ctx: BaseContext | None = ...,
        ) -> None: ...
        @overload
        def __init__(
            self: Array[Any],
            typecode_or_type: Any,
            size_or_initializer: int | Sequence[Any],
            *,
            lock: Any = ...,
            ctx: BaseContext | None = ...,
        ) -> None: ...

    def __init__(
        self,
        typecode_or_type: Any,
        size_or_initializer: int | Sequence[Any],
        *,
        lock: Any = True,
        ctx: BaseContext | None = None,
    ) -> None:
        super().__init__(RawArray(typecode_or_type, size_or_initializer), _checked(lock), ctx)


def _checked(lock: Any) -> Any:
    """A lock that was given, or None if one is to be made. Raises AttributeError if it is no lock."""
    if lock is True or lock is None:
        return None
    if not hasattr(lock, "acquire"):
        raise AttributeError(
            f"{lock!r} has no method 'acquire': lock= takes a lock, True for a new one, or False for none"
        )
    return lock


def make_property(name: str) -> property:
    """A property that gets and sets the attribute of this name of the ctypes object, with the lock held."""
    if name not in _properties:
        _properties[name] = property(
            lambda self: self._get_field(name),
            lambda self, value: self._set_field(name, value),
        )
    return _properties[name]


_properties: dict[str, property] = {}


class SynchronizedString(SynchronizedArray[bytes]):
    """An array of "c": as bytes up to the first zero (`value`), or all of them (`raw`)."""

    if TYPE_CHECKING:
        value: bytes
        raw: bytes
    else:
        value = make_property("value")
        raw = make_property("raw")


# Classes with the attributes of one ctypes type, by the class that was asked for and that type.
_suited_classes: weakref.WeakKeyDictionary[Any, weakref.WeakKeyDictionary[Any, Any]] = weakref.WeakKeyDictionary()


def _class_for(cls: Any, obj: Any) -> Any:
    """The class that an instance of `cls` needs to be of for such a ctypes object: `cls`, or one derived from it."""
    if isinstance(obj, ctypes._SimpleCData):
        return cls
    if isinstance(obj, ctypes.Array):
        if obj._type_ is not ctypes.c_char or issubclass(cls, SynchronizedString):
            return cls
        return _suited_class(cls, ctypes.c_char, (cls, SynchronizedString), ())
    type_ = type(obj)
    names = [field[0] for base in reversed(type_.__mro__) for field in base.__dict__.get("_fields_", ())]
    return _suited_class(cls, type_, (cls,), names)


def _suited_class(cls: Any, type_: Any, bases: tuple[Any, ...], fields: Iterable[str]) -> Any:
    by_type = _suited_classes.setdefault(cls, weakref.WeakKeyDictionary())
    if type_ not in by_type:
        names: dict[str, Any] = {field: make_property(field) for field in fields}
        names["__module__"] = cls.__module__
        names["__qualname__"] = cls.__qualname__
        names["_declared"] = weakref.ref(cls)
        by_type[type_] = type(cls.__name__, bases, names)
    return by_type[type_]


def _declared_class(cls: Any) -> Any:
    """The class that a suited class was derived from, or the class itself."""
    declared = cls.__dict__.get("_declared")
    return cls if declared is None else declared()


def synchronized(obj: Any, lock: Any = None, ctx: BaseContext | None = None) -> Any:
    """The `Value` or `Array` that guards a ctypes object, which need not be in shared memory."""
    assert not isinstance(obj, SynchronizedBase), "object already synchronized"
    return _wrapped(Array if isinstance(obj, ctypes.Array) else Value, obj, lock, ctx)
