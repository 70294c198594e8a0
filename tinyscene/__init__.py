"""tinyscene as a library: classify audio, read bundles, run integer graphs.

Importing it costs nothing: each name of ``__all__`` loads its module when it is first used. The packages behind it are
``tinyscene.runtime``, ``tinyscene.training``, ``tinyscene.export`` and ``tinyscene.firmware_harness``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .runtime.bundle import read_bundle
    from .runtime.classify import SceneClassifier
    from .runtime.errors import TinysceneError
    from .runtime.graph import Graph
    from .runtime.interpreter import run
    from .runtime.stream import SceneEvent

__version__ = "0.1.0"
__all__ = ["Graph", "SceneClassifier", "SceneEvent", "TinysceneError", "read_bundle", "run"]

_MODULE_OF = {
    "Graph": "graph",
    "SceneClassifier": "classify",
    "SceneEvent": "stream",
    "TinysceneError": "errors",
    "read_bundle": "bundle",
    "run": "interpreter",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tinyscene' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.runtime.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
