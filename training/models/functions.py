"""Networks of the user's own code: ``package.module:function`` or ``path/to/file.py:function``.

The code runs, so a name is taken from a command line or a recipe only, never from a model file. The function is one
that returns a torch.nn.Module, with or without the number of classes as its argument; a class is such a function, and
a module that exists already is taken as it is. Refuses names that cannot be found, and anything else that is returned.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from tinyscene.runtime.bounded_files import require_file
from tinyscene.runtime.errors import TinysceneError

from ..errors import TrainingError

FILE_MODULES = "file_"  # before the names of modules that are files
FORM = "package.module:function or path/to/file.py:function"


def module_of(name: str, n_classes: int | None = None) -> nn.Module:
    """The network that a function makes; the current folder is searched first, as ``python -m`` does.

    Args:
        n_classes: for functions that take an argument.

    Raises:
        TrainingError: see the module's refusals; the function fails.
    """
    source, _, attribute = name.rpartition(":")
    if not source or not attribute:
        raise TrainingError(f"model '{name}'", "names no function", expected=FORM)
    made = _attribute(name, _imported(name, source), attribute)
    if callable(made) and not isinstance(made, nn.Module):
        made = _called(name, made, n_classes)
    if not isinstance(made, nn.Module):
        raise TrainingError(f"model '{name}'", "is no network", expected="a torch.nn.Module", got=type(made).__name__)
    return made


def _imported(name: str, source: str) -> ModuleType:
    _search_first(Path.cwd())
    try:
        return _from_file(Path(source)) if source.endswith(".py") else importlib.import_module(source)
    except TinysceneError:
        raise
    except ModuleNotFoundError as error:
        step = "check the name, and PYTHONPATH"
        raise TrainingError(f"model '{name}'", "cannot be found", expected=FORM, got=error, next_step=step) from error
    except (Exception, SystemExit) as error:  # the user's own code runs
        raise _failed(name, "its module cannot be imported", error) from error


def _from_file(path: Path) -> ModuleType:
    """The module of a file, whose imports are searched beside it first, as ``python path/to/file.py`` does."""
    require_file(path, "a Python file")
    _search_first(path.resolve().parent)
    name = f"{FILE_MODULES}{path.stem}"  # a file torch.py does not take the place of PyTorch
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _search_first(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _attribute(name: str, module: ModuleType, attribute: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is None:
        known = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        expected = f"one of {', '.join(known)}" if known else FORM
        raise TrainingError(f"model '{name}'", f"has no '{attribute}'", expected=expected)
    return found


def _called(name: str, function: Any, n_classes: int | None) -> Any:
    needed = _needed_arguments(function)
    if len(needed) > 1 or (needed and n_classes is None):
        raise TrainingError(
            f"model '{name}'",
            "needs arguments",
            expected="a function without arguments, or with the number of classes as its only one",
            got=needed,
            next_step="write a function that calls it" + (", or give --labels" if len(needed) == 1 else ""),
        )
    try:
        return function(n_classes) if needed else function()
    except (Exception, SystemExit) as error:  # the user's own code runs
        raise _failed(name, "the function failed", error) from error


def _needed_arguments(function: Any) -> list[str]:
    try:
        taken = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a function in C
        return []
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in taken if each.default is each.empty and each.kind in by_position]


def _failed(name: str, what: str, error: BaseException) -> TrainingError:
    got = f"{type(error).__name__}: {error}"
    return TrainingError(f"model '{name}'", what, got=got, next_step="call it in Python to see the whole error")
