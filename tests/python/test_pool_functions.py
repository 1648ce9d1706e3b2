"""Functions that a pool is given: those that pickle sends by name, and those that only cloudpickle can send."""

from __future__ import annotations

import functools
import math
import operator
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shoal
from shoal import _functions

calls = 0


def square(number: int) -> int:
    return number * number


def adder(number: int) -> Callable[[int], int]:
    def add(other: int) -> int:
        return number + other

    return add


def call(function: Callable[[int], int], argument: int) -> int:
    return function(argument)


def apply_all(functions: list[Callable[[int], int]]) -> list[int]:
    return [function(3) for function in functions]


class Scale:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, number: int) -> int:
        return self.factor * number

    def method(self, number: int) -> int:
        return self.factor * number

    @classmethod
    def doubled(cls, number: int) -> int:
        return 2 * number

    @staticmethod
    def tripled(number: int) -> int:
        return 3 * number


@pytest.fixture(scope="module", params=["fork", "spawn", "forkserver"])
def pool(request: pytest.FixtureRequest) -> Iterator[Any]:
    with shoal.get_context(request.param).Pool(2) as shared:
        yield shared


@pytest.fixture
def no_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal._functions.FunctionPickler._find_cloudpickle", lambda _: False)


def test_lambdas_and_closures_are_called_in_workers(pool: Any) -> None:
    assert pool.apply(lambda a, b=2: a + b, (1,)) == 3
    assert pool.apply_async(adder(4), (1,)).get(30) == 5
    assert pool.map(lambda number: number + 1, range(20)) == list(range(1, 21))
    assert pool.map(adder(10), range(20), chunksize=1) == list(range(10, 30))
    assert pool.starmap(lambda a, b: a * b, [(2, 3), (4, 5)]) == [6, 20]
    assert list(pool.imap(adder(1), range(5))) == [1, 2, 3, 4, 5]
    assert sorted(pool.imap_unordered(adder(1), range(5), 2)) == [1, 2, 3, 4, 5]


def test_arguments_may_be_functions(pool: Any) -> None:
    assert pool.apply(call, (lambda number: number - 1, 5)) == 4
    assert pool.starmap(call, [(adder(1), 1), (square, 3)]) == [2, 9]
    assert pool.map(apply_all, [[adder(1), square]]) == [[4, 9]]


def test_whatever_can_be_called_is_called(pool: Any) -> None:
    assert pool.map(Scale(3), [1, 2]) == [3, 6]
    assert pool.map(Scale(3).method, [1, 2]) == [3, 6]
    assert pool.map(Scale.doubled, [1, 2]) == [2, 4]
    assert pool.map(Scale.tripled, [1, 2]) == [3, 6]
    assert pool.map(functools.partial(operator.add, 3), [1, 2]) == [4, 5]
    assert pool.map(math.sqrt, [4.0, 9.0]) == [2.0, 3.0]
    assert pool.map(str.upper, ["a", "b"]) == ["A", "B"]
    assert pool.map(int, ["1", "2"]) == [1, 2]
    assert [scale.factor for scale in pool.map(Scale, [1, 2])] == [1, 2]


def test_a_lambda_may_make_instances_of_a_class(pool: Any) -> None:
    made = pool.apply(lambda: Scale(7))
    assert type(made) is Scale


def test_a_closure_sees_what_it_has_when_it_is_sent(pool: Any) -> None:
    number = 1

    def tell(_: int) -> int:
        return number

    first = pool.apply(tell, (0,))
    number = 2
    assert (first, pool.apply(tell, (0,))) == (1, 2)


def test_a_lock_is_sent_along_with_a_closure() -> None:
    lock = shoal.Lock()

    def take(_: int) -> bool:
        return bool(lock.acquire(False))

    with shoal.Pool(1) as pool:
        assert pool.map(take, range(2), chunksize=1) == [True, False]


@pytest.mark.usefixtures("no_cloudpickle")
def test_without_cloudpickle_the_error_says_what_to_install(pool: Any) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError), match="pip install cloudpickle"):
        pool.map(lambda number: number, [1])
    with pytest.raises((pickle.PicklingError, AttributeError), match="pip install cloudpickle"):
        pool.apply(call, (adder(3), 1))
    with pytest.raises(TypeError) as caught:
        pool.apply(print, (sys.stdout,))
    assert "cloudpickle" not in str(caught.value)
    assert pool.map(square, range(3)) == [0, 1, 4]


@pytest.mark.usefixtures("no_cloudpickle")
def test_cloudpickle_is_not_needed_for_functions_with_a_name(pool: Any) -> None:
    assert pool.map(square, range(3)) == [0, 1, 4]
    assert pool.map(Scale(3).method, [1, 2]) == [3, 6]


def test_cloudpickle_is_not_imported_unless_it_is_needed(run: Callable[..., Any], program: Callable[..., Path]) -> None:
    program(
        """
        import sys
        import shoal

        if __name__ == "__main__":
            with shoal.Pool(1) as pool:
                print(pool.map(abs, [-1]), "cloudpickle" in sys.modules)
                print(pool.map(lambda n: -n, [1]), "cloudpickle" in sys.modules)
        """
    )
    ended = run("program.py")
    assert ended.out.splitlines() == ["[1] False", "[-1] True"], ended


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_programs_own_functions_and_classes(
    run: Callable[..., Any], program: Callable[..., Path], method: str
) -> None:
    program(
        f"""
        import shoal

        class Point:
            def __init__(self, x):
                self.x = x

        def make(x):
            return Point(x)

        if __name__ == "__main__":
            with shoal.get_context("{method}").Pool(1) as pool:
                for function in (make, Point, lambda x: Point(x), lambda x: make(x)):
                    made = pool.apply(function, (3,))
                    print(type(made) is Point, made.x)
        """
    )
    ended = run("program.py")
    assert ended.out.splitlines() == ["True 3"] * 4, ended


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_functions_of_a_main_module_that_cannot_be_imported(run: Callable[..., Any], method: str) -> None:
    ended = run(
        "-c",
        "import shoal\n"
        "def helper(x): return x * 3\n"
        "def triple(x): return helper(x)\n"
        "def begin(y): print(helper(y), flush=True)\n"
        f"with shoal.get_context('{method}').Pool(1, begin, (7,)) as pool:\n"
        "    print(pool.map(triple, [1, 2]), pool.apply(triple, (3,)), flush=True)\n",
    )
    assert ended.out.splitlines() == ["21", "[3, 6] 9"], ended


def test_functions_that_are_defined_after_the_workers_were_forked(
    run: Callable[..., Any], program: Callable[..., Path]
) -> None:
    program(
        """
        import shoal

        def first(x):
            return ("first", x)

        if __name__ == "__main__":
            with shoal.get_context("fork").Pool(2) as pool:
                def second(x):
                    return ("second", x)

                class Third:
                    def __init__(self, x):
                        self.x = x

                print(pool.apply(first, (1,)), pool.apply(second, (2,)), pool.apply(lambda: Third(3).x))

                def first(x):
                    return ("new", x)

                print(pool.map(first, [4]))
        """
    )
    ended = run("program.py")
    assert ended.out.splitlines() == ["('first', 1) ('second', 2) 3", "[('new', 4)]"], ended


# The pickles


def test_what_has_a_name_is_sent_as_it_is() -> None:
    pickler = _functions.FunctionPickler("fork")
    for function in (square, len, math.sqrt, Scale, Scale.tripled, Scale(3).method, int, functools.partial(square, 3)):
        assert pickler.sendable(function) is function
        assert callable(pickle.loads(pickler.dumps(function)))


@pytest.mark.parametrize("function", [adder(3), lambda number: number + 3])
def test_what_has_no_name_is_sent_as_code(function: Callable[[int], int]) -> None:
    pickler = _functions.FunctionPickler("fork")
    assert pickle.loads(pickler.dumps(function))(1) == 4
    with pytest.raises(ZeroDivisionError):
        pickler.by_value(function, ZeroDivisionError())
    copy, numbers = pickle.loads(pickle.dumps(_functions.Portable((function, [1, 2]), pickler)))
    assert (copy(1), numbers) == (4, [1, 2])
