"""What `import shoal` imports, which is next to nothing, and that nobody can tell."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import pytest
import shoal
from shoal import _stdlib

# What takes long to import, or is large, and is not needed before something of shoal is used.
EXPENSIVE = [
    "_ctypes",
    "asyncio",
    "contextlib",
    "ctypes",
    "dataclasses",
    "importlib.abc",
    "importlib.resources",
    "importlib.util",
    "inspect",
    "json",
    "logging",
    "pickle",
    "queue",
    "re",
    "select",
    "selectors",
    "shoal._core",
    "socket",
    "ssl",
    "struct",
    "subprocess",
    "tempfile",
    "traceback",
    "typing",
    "typing_extensions",
]

REPORT = """
import sys
known = set(sys.modules)
{statement}
print(*sorted(set(sys.modules) - known))
"""


@pytest.fixture
def imported_by(run: Callable[..., Any]) -> Callable[[str], list[str]]:
    """imported_by(statement): the modules that a fresh interpreter imports for it."""

    def imported(statement: str) -> list[str]:
        ended = run("-I", "-c", REPORT.format(statement=statement))
        assert ended.status == 0, ended
        names: list[str] = ended.out.split()
        return names

    return imported


def test_importing_shoal_imports_nothing_expensive(imported_by: Callable[[str], list[str]]) -> None:
    assert not set(imported_by("import shoal")) & set(EXPENSIVE)


def test_importing_shoal_imports_less_than_half_of_what_multiprocessing_does(
    imported_by: Callable[[str], list[str]],
) -> None:
    standard = imported_by("import multiprocessing, multiprocessing.queues, multiprocessing.pool")
    assert len(imported_by("import shoal")) < len(standard) / 2


@pytest.mark.parametrize(
    "statement",
    [
        "import shoal; shoal.Process",
        "import shoal; shoal.get_context('spawn').Lock()",
        "import shoal; shoal.Queue().put(1)",
        "import shoal; shoal.Pool",
    ],
)
def test_what_a_program_uses_does_not_bring_what_it_does_not_use(
    imported_by: Callable[[str], list[str]], statement: str
) -> None:
    used_by_some = {"_core", "contextlib", "queue", "select", "selectors"}
    unused = {name for name in EXPENSIVE if name.rpartition(".")[2] not in used_by_some}
    assert not set(imported_by(statement)) & unused


def test_installing_the_alias_imports_nothing_expensive(imported_by: Callable[[str], list[str]]) -> None:
    assert not set(imported_by("import shoal.alias; shoal.alias.install()")) & set(EXPENSIVE)


@pytest.mark.parametrize("name", sorted(shoal.__all__))
def test_a_public_name_is_the_same_object_each_time(name: str) -> None:
    value = getattr(shoal, name)
    again = getattr(shoal, name)
    assert value is again or value == again  # a bound method
    assert name in dir(shoal)


def test_a_star_import_brings_all_public_names(run: Callable[..., Any]) -> None:
    ended = run(
        "-c",
        "before = set(globals())\n"
        "from shoal import *\n"
        "names = set(globals()) - before - {'before'}\n"
        "import shoal\n"
        "assert names == set(shoal.__all__), names ^ set(shoal.__all__)\n"
        "print(len(names) == len(shoal.__all__))",
    )
    assert ended.out == "True\n", ended


def test_a_name_that_does_not_exist_is_an_error_that_says_where() -> None:
    with pytest.raises(AttributeError, match="module 'shoal' has no attribute 'Quueue'"):
        shoal.Quueue  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'shoal\.queues' has no attribute 'Quueue'"):
        shoal.queues.Quueue  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'nowhere'"):
        _stdlib.nowhere  # noqa: B018


def test_the_errors_are_those_of_the_standard_library() -> None:
    for name in ("AuthenticationError", "BufferTooShort", "ProcessError", "TimeoutError"):
        assert getattr(shoal, name) is getattr(multiprocessing, name)


ORDERS = [
    "import multiprocessing, multiprocessing.queues, multiprocessing.pool; import shoal; shoal.alias.install()",
    "import multiprocessing.reduction, multiprocessing.spawn; import shoal; shoal.alias.install()",
    "import shoal, multiprocessing; import multiprocessing.pool; shoal.alias.install()",
    "import shoal; shoal.alias.install(); import multiprocessing.pool",
    "import shoal.queues, shoal.pool; shoal.alias.install(); import multiprocessing",
    "import concurrent.futures.process, shoal; shoal.Queue().put(object); shoal.alias.install()",
]

# Whatever came first, there is one of each class, and each name leads to the right one.
COHERENCE = """
{order}
import sys, multiprocessing, multiprocessing.queues
from multiprocessing import connection, pool, process, queues, reduction, synchronize, util
from shoal import _stdlib
assert multiprocessing is shoal
assert queues is multiprocessing.queues is shoal.queues is sys.modules["multiprocessing.queues"]
assert pool.Pool is shoal.Pool and queues.Queue is shoal.Queue and synchronize.Lock is shoal.Lock
assert pool.ThreadPool is _stdlib.pool.ThreadPool
assert pool.ThreadPool.__module__ == "multiprocessing.pool"
assert _stdlib.queues.Queue is not shoal.Queue
assert _stdlib.queues is _stdlib.submodule("queues")
assert reduction is _stdlib.reduction is _stdlib.context.reduction
assert reduction.ForkingPickler is _stdlib.queues._ForkingPickler is _stdlib.connection._ForkingPickler
assert util is _stdlib.util is _stdlib.pool.util
assert process is _stdlib.process is _stdlib.context.process
assert connection.Connection is _stdlib.connection.Connection
assert type(reduction).__name__ == "module"
print("coherent")
"""


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_imports_does_not_matter(run: Callable[..., Any], order: str) -> None:
    ended = run("-c", COHERENCE.format(order=order))
    assert ended.out == "coherent\n", ended


def test_threads_that_use_a_lazy_module_first_see_all_of_it(run: Callable[..., Any]) -> None:
    """What is not complete before the end of the module is what reducers are registered with: the last of its body."""
    ended = run(
        "-c",
        "import threading, sys\n"
        "import shoal\n"
        "from shoal import _stdlib\n"
        "barrier = threading.Barrier(8)\n"
        "seen = []\n"
        "def look(names=('dump', 'ForkingPickler', 'register', 'AbstractReducer')):\n"
        "    barrier.wait()\n"
        "    reduction = _stdlib.reduction\n"
        "    seen.append((len(reduction.ForkingPickler._extra_reducers), reduction.DupFd, reduction.register))\n"
        "sys.setswitchinterval(1e-6)\n"
        "threads = [threading.Thread(target=look) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "assert len(seen) == 8 and len(set(seen)) == 1, seen\n"
        "print(seen[0][0] > 0)",
    )
    assert ended.out == "True\n", ended


def test_what_is_set_on_a_lazy_module_stays(run: Callable[..., Any]) -> None:
    ended = run(
        "-c",
        "import shoal, sys\n"
        "from shoal import _stdlib\n"
        "sys.modules['multiprocessing.reduction'].dump = None\n"
        "assert _stdlib.reduction.dump is None\n"
        "import multiprocessing.reduction\n"
        "assert multiprocessing.reduction.dump is None\n"
        "print(multiprocessing.reduction.HAVE_SEND_HANDLE)",
    )
    assert ended.out == "True\n", ended


def test_a_module_that_is_only_looked_at_from_outside_is_not_executed(imported_by: Callable[[str], list[str]]) -> None:
    statement = "import shoal, sys; [getattr(module, '__file__', None) for module in list(sys.modules.values())]"
    assert "pickle" not in imported_by(statement)


def test_a_callback_for_a_lazy_module_is_called_once_it_is_executed(run: Callable[..., Any]) -> None:
    ended = run(
        "-c",
        "from shoal import _stdlib\n"
        "_stdlib.lazy_submodule('heap', lambda module: print('executed', module.Heap.__name__))\n"
        "print('placed', _stdlib.loaded_submodule('heap'))\n"
        "_stdlib.heap.Arena\n"
        "_stdlib.lazy_submodule('heap', lambda module: print('there', module is _stdlib.loaded_submodule('heap')))\n",
    )
    assert ended.out == "placed None\nexecuted Heap\nthere True\n", ended


def test_many_threads_use_shoal_first_at_once(run: Callable[..., Any]) -> None:
    """No two locks of imports wait for each other, whoever comes first."""
    ended = run(
        "-c",
        "import shoal, sys, threading\n"
        "shoal.alias.install()\n"
        "import multiprocessing\n"
        "names = list(multiprocessing.__all__) + ['managers', 'pool', 'queues', 'connection', 'util', 'spawn']\n"
        "barrier = threading.Barrier(len(names))\n"
        "def use(name):\n"
        "    barrier.wait()\n"
        "    getattr(multiprocessing, name)\n"
        "sys.setswitchinterval(1e-6)\n"
        "threads = [threading.Thread(target=use, args=(name,)) for name in names]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print('done')",
    )
    assert ended.out == "done\n", ended


def test_threads_of_this_process_find_one_class() -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(shoal.Queue)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {shoal.Queue}
