"""One call of an operator in an exported program, with its arguments as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, fx

from .values import View

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Call:
    """``arguments`` by their names in the operator's schema, defaults included; ``name``: for the step that it makes.

    ``shape``: of the result in PyTorch.
    """

    node: fx.Node
    operator: str
    name: str
    arguments: dict[str, Any]
    shape: tuple[int, ...]

    def view(self, argument: str = "self") -> View:
        value = self.arguments[argument]
        assert isinstance(value, View)
        return value

    def tensor(self, argument: str) -> Tensor | None:
        """A constant tensor; None for an argument that was left out."""
        value = self.arguments[argument]
        assert value is None or isinstance(value, Tensor)
        return value

    def __getitem__(self, argument: str) -> Any:
        return self.arguments[argument]

    def pair(self, argument: str, default: int | tuple[int, int] = 1) -> tuple[int, int]:
        """An argument of one or two integers, one for both axes of an image; an empty list is the default."""
        value = self.arguments[argument]
        if isinstance(value, int):
            value = [value]
        if not value:
            value = [default] if isinstance(default, int) else default
        return (int(value[0]), int(value[-1]))
