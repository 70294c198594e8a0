"""tinyscene as a library: classify audio, read bundles, run integer graphs.

Importing it loads this one module and nothing else: each name of ``__all__`` is loaded when it is first used. The
packages are ``tinyscene.runtime``, ``tinyscene.training``, ``tinyscene.export`` and ``tinyscene.firmware_harness``.
"""

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, without importing typing

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

if not TYPE_CHECKING:  # hidden from type checkers, which report unknown names

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'tinyscene' has no attribute {name!r}")
        import importlib

        value: object = getattr(importlib.import_module(f"{__name__}.runtime.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
