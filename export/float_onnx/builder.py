"""Append the calls of a program, one node of an ONNX file after the other.

Each call is also run on PyTorch's ``meta`` device for one clip, so that all shapes are known. Refuses what an operator
of PyTorch refuses, naming the node.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper
from torch import Tensor

from tinyscene.training.models.program import (
    GETITEM,
    OPERATORS,
    Batch,
    End,
    Program,
    ProgramCall,
    ProgramNetwork,
    Value,
    Weight,
    function_of,
    network_of,
)

from ..errors import ExportError

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Ref:
    """The result ``name`` of a call; ``meta`` and ``twice`` have its shapes for one clip and for two."""

    name: str
    meta: Any  # a tensor on the meta device, or a list of them
    twice: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.meta.shape)

    @property
    def batch_axis(self) -> int:
        """The axis that the clips are on, perhaps with other elements; the first if no size depends on them."""
        pairs = enumerate(zip(self.meta.shape, self.twice.shape, strict=True))
        return next((axis for axis, (one, two) in pairs if one != two), 0)


@dataclass(frozen=True, eq=False)
class Trained:
    """A constant that is trained, as ``part`` of the current node's module."""

    values: Array
    part: str


Row = Callable[["ProgramBuilder"], None]


class ProgramBuilder:
    """``constants`` and ``values`` by the names of the file; called by the rows of this package."""

    def __init__(self, where: str, opset: int) -> None:
        self.where, self.opset = where, opset
        self.constants: dict[str, Array] = {}
        self.values: dict[str, Ref] = {}
        self.made_by: dict[str, ProgramCall] = {}  # by the name of the result
        self._calls: list[ProgramCall] = []
        self._state: dict[str, Tensor] = {}
        self._parameters: list[str] = []
        self._paths: set[str] = set()
        self._inputs: list[End] = []
        self._node, self._index, self._path = onnx.NodeProto(), -1, ""

    def take_input(self, name: str, shape: tuple[int, ...]) -> None:
        """``shape``: without the batch."""
        self._inputs.append(self._end(name, shape))
        self.values[name] = Ref(name, *(torch.empty(clips, *shape, device="meta") for clips in (1, 2)))

    def begin(self, node: onnx.NodeProto, index: int) -> None:
        """The node that the next calls belong to."""
        self._node, self._index = node, index
        words = [part for part in re.split(r"[^A-Za-z0-9_]+", str(node.name or node.output[0])) if part]
        path = ".".join(words[-6:])[-200:] or f"node_{index}"
        self._path = path if path not in self._paths else f"{path}_{index}"
        self._paths.add(self._path)

    # Refusals

    def refuse(self, what: str, *, expected: object = None, got: object = None) -> NoReturn:
        where = (
            f"{self.where}, operator {self._index} ({self._node.op_type} '{self._node.name or self._node.output[0]}')"
        )
        raise ExportError(where, what, expected=expected, got=got)

    # Inputs of the current node

    @property
    def kind(self) -> str:
        return str(self._node.op_type)

    def attribute(self, name: str, default: Any = None) -> Any:
        return next((helper.get_attribute_value(a) for a in self._node.attribute if a.name == name), default)

    def has(self, position: int) -> bool:
        return position < len(self._node.input) and self._node.input[position] != ""

    def is_constant(self, position: int) -> bool:
        return self.has(position) and self._node.input[position] in self.constants

    def inputs(self) -> int:
        return len(self._node.input)

    def outputs(self) -> int:
        return len(self._node.output)

    def writes(self, position: int) -> bool:
        return position < len(self._node.output) and self._node.output[position] != ""

    def fold(self, values: Array) -> None:
        """The result of the current node is a constant."""
        self.constants[self._node.output[0]] = values

    def ref(self, position: int) -> Ref:
        """An input that is computed."""
        name = self._node.input[position]
        if name not in self.values:
            what = "is a constant" if name in self.constants else "is written by nothing before it"
            self.refuse(f"limit: its input '{name}' {what}")
        return self.values[name]

    def constant(self, position: int) -> Array:
        name = self._node.input[position]
        if name not in self.constants:
            self.refuse(f"limit: its input '{name}' is computed", expected="a constant")
        return self.constants[name]

    def integers(self, position: int, attribute: str = "") -> list[int] | None:
        """Integers that are an input or, in older files, an attribute; None where there are none."""
        if self.has(position):
            return [int(v) for v in self.constant(position).ravel().tolist()]
        stated = self.attribute(attribute)
        return None if stated is None else [int(v) for v in stated]

    def operand(self, position: int) -> Ref | Trained | float:
        """An operand of an elementwise operator; one number is a number."""
        if not self.is_constant(position):
            return self.ref(position)
        values = self.constant(position)
        return float(values.ravel()[0]) if values.size == 1 else Trained(values, f"operand{position}")

    # Calls

    def call(self, operator: str, *arguments: Any, **options: Any) -> Ref:
        """Append a call; arguments are results, constants, and what :class:`ProgramCall` takes."""
        kind = operator.partition(".")[0]
        if kind not in OPERATORS:
            self.refuse(f"limit: operator '{kind}' of PyTorch has no integer form")
        try:
            metas = [function_of(operator)(*_on_meta(arguments, n), **_options_on_meta(options, n)) for n in (1, 2)]
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as problem:
            self.refuse("inputs do not fit", got=(str(problem).splitlines() or [""])[0][:160])
        taken = tuple(map(self._argument, arguments))
        named = {name: self._argument(argument) for name, argument in options.items()}
        return self._append(kind, operator, taken, named, metas)

    def part(self, parts: Ref, number: int) -> Ref:
        """One of the results of a call that has several."""
        metas = [parts.meta[number], parts.twice[number]]
        return self._append(GETITEM, GETITEM, (Value(value=parts.name), number), {}, metas)

    def _append(self, kind: str, operator: str, args: tuple[Any, ...], kwargs: dict[str, Any], metas: list[Any]) -> Ref:
        name, inputs = f"{kind}_{len(self._calls)}", {end.name for end in self._inputs}
        while name in inputs:
            name = f"{name}_"
        call = ProgramCall(name=name, module=self._path, operator=operator, args=args, kwargs=kwargs)
        self._calls.append(call)
        self.made_by[name] = call
        return Ref(name, *metas)

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, Ref):
            return Value(value=argument.name)
        if isinstance(argument, Trained):
            return Weight(weight=self._stored(argument, trained=True))
        if isinstance(argument, np.ndarray):
            return Weight(weight=self._stored(Trained(argument, "constant"), trained=False))
        return tuple(map(self._argument, argument)) if isinstance(argument, list | tuple) else argument

    def _stored(self, constant: Trained, *, trained: bool) -> str:
        name, number = f"{self._path}.{constant.part}", 0
        while name in self._state:
            number += 1
            name = f"{self._path}.{constant.part}_{number}"
        kept = constant.values.dtype if np.issubdtype(constant.values.dtype, np.integer) else np.float32  # of indices
        self._state[name] = torch.from_numpy(np.array(constant.values, kept, ndmin=1))
        self._parameters += [name] if trained else []
        return name

    def reshaped(self, x: Ref, shape: Sequence[int]) -> Ref:
        """``shape``: for one clip, with at most one -1; the size on the clips' axis is multiplied by their number."""
        try:
            sizes: list[Any] = list(x.meta.reshape(tuple(shape)).shape)
        except RuntimeError as problem:
            self.refuse("the shape does not fit", expected=x.shape, got=f"{list(shape)} ({problem})"[:160])
        before = math.prod(x.shape[: x.batch_axis])
        counts = [math.prod(sizes[:axis]) for axis in range(len(sizes) + 1)]
        at = next(axis for axis in range(len(sizes)) if counts[axis] == before or counts[axis + 1] > before)
        sizes[at] = Batch(batch=sizes[at])
        return self.call("reshape.default", x, sizes)

    # Results

    def result(self, value: Ref, position: int = 0) -> None:
        self.values[self._node.output[position]] = value

    def network(self, outputs: Sequence[str]) -> ProgramNetwork:
        """The program of all calls; raises TrainingError as :func:`network_of`."""
        program = Program(
            inputs=tuple(self._inputs),
            calls=tuple(self._calls),
            outputs=tuple(map(self._output, outputs)),
            parameters=tuple(self._parameters),
        )
        return network_of(program, self._state, self.where)

    def _output(self, name: str) -> End:
        result = self.values.get(name)
        if result is None or result.name not in {call.name for call in self._calls}:
            raise ExportError(self.where, f"output '{name}' does not depend on an input, or is one")
        if result.meta.ndim < 2 or len(result.meta) != 1:
            what, expected = f"limit: shape of the output '{name}'", "one row for each clip, (batch, ...)"
            raise ExportError(self.where, what, expected=expected, got=list(result.shape))
        return self._end(result.name, result.shape[1:])

    def _end(self, name: str, shape: tuple[int, ...]) -> End:
        try:
            return End(name=name, shape=shape)
        except ValueError as problem:
            got = " ".join(str(problem).split())[:160]
            raise ExportError(f"{self.where}, '{name[:80]}'", "limit: its name or its shape", got=got) from problem


def _options_on_meta(options: Mapping[str, Any], clips: int) -> dict[str, Any]:
    return {name: _on_meta(argument, clips) for name, argument in options.items()}


def _on_meta(argument: Any, clips: int) -> Any:
    if isinstance(argument, Ref):
        return argument.meta if clips == 1 else argument.twice
    if isinstance(argument, Trained | np.ndarray):
        values = argument.values if isinstance(argument, Trained) else argument
        return torch.from_numpy(np.array(values)).to("meta")
    if isinstance(argument, Batch):
        return argument.batch * clips
    return [_on_meta(each, clips) for each in argument] if isinstance(argument, list | tuple) else argument
