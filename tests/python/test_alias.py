"""What `import multiprocessing` means under `python -m shoal`, in the program and in its children."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

REPORT = """
import multiprocessing
import multiprocessing.queues
import sys
from multiprocessing import Lock, Queue, pool, synchronize

def meaning():
    return (
        multiprocessing.__name__,
        sys.modules["multiprocessing.queues"].__name__,
        Queue.__module__,
        isinstance(Lock(), Lock),
        pool.Pool is multiprocessing.Pool,
        synchronize.Event.__module__,
        multiprocessing.get_start_method(),
    )

def tell(queue):
    queue.put(meaning())

def expected(method):
    return ("shoal", "shoal.queues", "shoal.queues", True, True, "shoal.synchronize", method)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_is_shoal_in_parent_and_child(run: Callable[..., Any], program: Any, method: str) -> None:
    program(
        REPORT
        + f"""
if __name__ == "__main__":
    multiprocessing.set_start_method("{method}")
    assert meaning() == expected("{method}"), meaning()
    queue = Queue()
    child = multiprocessing.Process(target=tell, args=(queue,))
    child.start()
    answer = queue.get(timeout=30)
    assert answer == expected("{method}"), answer
    child.join()
    with multiprocessing.Pool(2) as workers:
        assert workers.apply(meaning) == expected("{method}"), workers.apply(meaning)
    print("as expected")
"""
    )
    for arguments in (["program.py"], ["-m", "program"]):
        ended = run("-m", "shoal", *arguments)
        assert ended.out == "as expected\n", ended


def test_a_program_that_imports_shoal_as_multiprocessing_needs_no_alias(run: Callable[..., Any], program: Any) -> None:
    program("""
        import shoal as multiprocessing

        def tell(queue):
            import multiprocessing as standard
            queue.put((multiprocessing.__name__, standard.__name__))

        if __name__ == "__main__":
            for method in ("fork", "spawn", "forkserver"):
                context = multiprocessing.get_context(method)
                queue = context.Queue()
                child = context.Process(target=tell, args=(queue,))
                child.start()
                print(*queue.get(timeout=30))
                child.join()
    """)
    assert run("program.py").out == "shoal multiprocessing\n" * 3


def test_all_of_multiprocessings_modules_can_be_imported_and_cohere(run: Callable[..., Any], program: Any) -> None:
    program("""
        import importlib, os, pkgutil, sys
        import multiprocessing

        stdlib = os.path.join(os.path.dirname(os.__file__), "multiprocessing")
        for info in pkgutil.walk_packages([stdlib], "multiprocessing."):
            if info.name.endswith("win32"):
                continue
            module = importlib.import_module(info.name)
            assert sys.modules[info.name] is module
            assert all(hasattr(module, name) for name in module.__all__), info.name
            if info.name.count(".") == 1:
                short = info.name.partition(".")[2]
                assert getattr(multiprocessing, short) is module, info.name
                assert importlib.import_module("shoal." + short) is module, info.name
        from multiprocessing import managers, shared_memory
        import multiprocessing.dummy.connection
        assert managers.process is multiprocessing.process
        assert managers.pool is multiprocessing.pool
        try:
            import multiprocessing.nowhere
        except ModuleNotFoundError as error:
            print(error)
    """)
    ended = run("-m", "shoal", "program.py")
    assert ended.out == "No module named 'multiprocessing.nowhere'\n", ended


def test_what_builds_on_multiprocessing_works(run: Callable[..., Any], program: Any) -> None:
    program("""
        import multiprocessing, pickle
        from concurrent.futures import ProcessPoolExecutor
        from concurrent.futures.process import BrokenProcessPool
        from multiprocessing import dummy, shared_memory
        from multiprocessing.managers import BaseManager
        import logging, os, signal

        def square(number):
            return number * number

        def die(_):
            os.kill(os.getpid(), signal.SIGKILL)

        class Counter:
            def __init__(self): self.value = 0
            def add(self): self.value += 1; return self.value

        class CounterManager(BaseManager):
            pass

        CounterManager.register("Counter", Counter)

        if __name__ == "__main__":
            for method in ("fork", "spawn", "forkserver"):
                context = multiprocessing.get_context(method)
                with ProcessPoolExecutor(2, mp_context=context) as executor:
                    assert list(executor.map(square, range(20))) == [n * n for n in range(20)]
                    try:
                        executor.submit(lambda: 0).result(30)
                    except (pickle.PicklingError, AttributeError) as error:
                        assert "lambda" in str(error)
                    assert executor.submit(square, 3).result(30) == 9
            with ProcessPoolExecutor(1) as executor:
                try:
                    executor.submit(die, 0).result(30)
                except BrokenProcessPool:
                    pass
            with multiprocessing.Manager() as manager:
                shared = manager.dict(a=1)
                shared["b"] = 2
                assert shared.copy() == {"a": 1, "b": 2}
                workers = manager.Pool(1)
                assert workers.map(square, [2, 3]) == [4, 9]
                workers.terminate()
            with CounterManager() as manager:
                assert manager.Counter().add() == 1
            with dummy.Pool(2) as threads:
                assert threads.map(square, [1, 2]) == [1, 4]
            memory = shared_memory.SharedMemory(create=True, size=16)
            memory.close()
            memory.unlink()
            reader, writer = multiprocessing.Pipe(duplex=False)
            writer.send("piped")
            assert reader.recv() == "piped"
            record = logging.makeLogRecord({})
            assert logging.LogRecord("", 0, "", 0, "", (), None).processName == "MainProcess"
            print("all work")
    """)
    ended = run("-m", "shoal", "program.py")
    assert ended.out == "all work\n", ended


def test_modules_preloaded_by_the_fork_server_mean_shoal_too(run: Callable[..., Any], program: Any) -> None:
    program("import multiprocessing\nMEANING = multiprocessing.__name__\n", "helper.py")
    program("""
        import multiprocessing

        def tell(queue):
            import helper
            queue.put((helper.MEANING, multiprocessing.__name__))

        if __name__ == "__main__":
            multiprocessing.set_start_method("forkserver")
            multiprocessing.set_forkserver_preload(["__main__", "helper"])
            queue = multiprocessing.Queue()
            child = multiprocessing.Process(target=tell, args=(queue,))
            child.start()
            print(*queue.get(timeout=30))
            child.join()
    """)
    assert run("-m", "shoal", "program.py", env={"PYTHONPATH": "."}).out == "shoal shoal\n"


def test_isinstance_as_users_write_it_fails_with_the_standard_library_and_works_here(
    run: Callable[..., Any], program: Any
) -> None:
    program("""
        import multiprocessing

        def describe(thing):
            if isinstance(thing, multiprocessing.Lock):
                return "a lock"
            if isinstance(thing, multiprocessing.Queue):
                return "a queue"
            return "something else"

        print(describe(multiprocessing.Lock()), describe(multiprocessing.Queue()), describe(3))
    """)
    standard = run("program.py")
    assert standard.status == 1
    assert "TypeError: isinstance() arg 2 must be a type" in standard.err
    assert run("-m", "shoal", "program.py").out == "a lock a queue something else\n"


def test_a_program_without_a_guard_is_told_so_and_does_not_fork_for_ever(run: Callable[..., Any], program: Any) -> None:
    program("""
        import multiprocessing
        multiprocessing.set_start_method("spawn", force=True)
        with multiprocessing.Pool(1) as workers:
            try:
                workers.map(abs, [1])
            except multiprocessing.ProcessError as error:
                print(error)
    """)
    ended = run("-m", "shoal", "program.py")
    assert "could not start: it ended the process with exit status 1 before it was ready" in ended.out, ended
    assert "if __name__ == '__main__':" in ended.err
