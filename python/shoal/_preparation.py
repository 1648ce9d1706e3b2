"""What a process that does not share its parent's memory is told before it gets its process object, and what it does
with that.
"""

from __future__ import annotations

import io
import os
import sys
from types import ModuleType

from shoal import _stdlib, alias

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def of_child(process: Any) -> dict[str, Any]:
    """For a child that is to run `process`. Raises RuntimeError in one that is still importing the program."""
    current = _stdlib.process.current_process()
    if getattr(current, "_inheriting", False):
        _stdlib.spawn._check_not_importing_main()
    from shoal.context import _default_context

    data = of_program()
    data.update(
        name=process._name,
        daemon=process.daemon,
        parent=os.getpid(),
        authkey=bytes(current.authkey),
        start_method=_default_context.get_start_method(),
    )
    if (util := _stdlib.loaded_submodule("util")) is not None:
        data["log_to_stderr"] = util._log_to_stderr
        if util._logger is not None:
            data["log_level"] = util._logger.getEffectiveLevel()
    return data


def of_program() -> dict[str, Any]:
    """What is the same for all children, and the fork server: where they find the program."""
    original_dir = _stdlib.process.ORIGINAL_DIR
    data: dict[str, Any] = {
        "alias": alias.installed(),
        "sys_path": [original_dir if entry == "" else entry for entry in sys.path],
        "sys_argv": sys.argv,
        "orig_dir": original_dir,
        "dir": os.getcwd(),
    }
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    path = getattr(main, "__file__", None)
    if name is not None:
        data["main_name"] = name
    elif path is not None:
        if not os.path.isabs(path) and original_dir is not None:
            path = os.path.join(original_dir, path)
        data["main_path"] = os.path.normpath(path)
    return data


def resource_tracker() -> int:
    """The descriptor by which this process tells the resource tracker of things, for a child to do the same.

    What a child has created, shared memory for one, must outlive it, so it has no tracker of its own.
    """
    global _tracker
    tracker = _stdlib.submodule("resource_tracker")._resource_tracker
    if tracker._fd is None or tracker._fd != _tracker:
        _tracker = tracker.getfd()
    elif _has_no_reader(_tracker):
        _tracker = tracker.getfd()  # it was killed
    return _tracker


_tracker = -1


def _has_no_reader(pipe: int) -> bool:
    """Whether a pipe's other end is closed, which tells of the tracker's end whoever's child it is."""
    import select

    poll = select.poll()
    poll.register(pipe, 0)  # errors are reported unasked
    return bool(poll.poll(0))


def prepare(data: dict[str, Any]) -> None:
    """In the new process: become a part of the program, up to its main module. `data`: of the child or the program."""
    process = _stdlib.process
    current = process.current_process()
    if data["alias"]:
        alias.install()
    if "name" in data:
        current.name = data["name"]
    if "authkey" in data:
        current.authkey = data["authkey"]
    if data.get("log_to_stderr"):
        _stdlib.util.log_to_stderr()
    if "log_level" in data:
        _stdlib.util.get_logger().setLevel(data["log_level"])
    sys.path = data["sys_path"]
    sys.argv = data["sys_argv"]
    if "dir" in data:
        os.chdir(data["dir"])
    process.ORIGINAL_DIR = data["orig_dir"]
    if "start_method" in data:
        from shoal.context import _default_context

        _default_context.set_start_method(data["start_method"], force=True)


def import_main(data: dict[str, Any]) -> None:
    """Import the program's main module as `__mp_main__`, unless that has been done, or would run the program."""
    if "main_name" in data:
        _import_main_by_name(data["main_name"])
    elif "main_path" in data:
        _import_main_by_path(data["main_path"])


def _import_main_by_name(name: str) -> None:
    # The __main__.py of a package, a directory or a zip file has no condition around what it does.
    if name == "__main__" or name.endswith(".__main__"):
        return
    if getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", None) == name:
        return
    import runpy

    _become_main(_module_with(runpy.run_module(name, run_name="__mp_main__", alter_sys=True)))


def _import_main_by_path(path: str) -> None:
    # The program that starts IPython had no such condition either, for long.
    if os.path.splitext(os.path.basename(path))[0] == "ipython":
        return
    if getattr(sys.modules["__main__"], "__file__", None) == path:
        return
    if path.endswith(".py"):
        _become_main(_executed_script(path))
    else:
        import runpy

        _become_main(_module_with(runpy.run_path(path, run_name="__mp_main__")))


def _executed_script(path: str) -> ModuleType:
    """What runpy.run_path does with a file of source, which imports much that few programs need."""
    module = _module_with({"__file__": path, "__cached__": None, "__package__": ""})
    program, sys.argv[0] = sys.argv[0], path
    sys.modules["__mp_main__"] = module
    try:
        with io.open_code(path) as file:
            exec(compile(file.read(), path, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules["__mp_main__"]
        raise
    finally:
        sys.argv[0] = program
    return module


def _module_with(content: dict[str, Any]) -> ModuleType:
    module = ModuleType("__mp_main__")
    module.__dict__.update(content)
    return module


def _become_main(module: ModuleType) -> None:
    _old_main_modules.append(sys.modules["__main__"])
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


_old_main_modules: list[ModuleType] = []  # what refers to them may be used still
