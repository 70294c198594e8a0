"""Reads the calls of an exported program one after the other, and collects the steps that they become.

A module with an integer form of its own (:class:`tinyscene.training.models.layers.GRN`) is one step, wherever it
occurs. Refuses what the rows of the operators refuse, and operators without a row, naming the module and the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn

from tinyscene.runtime import ops
from tinyscene.training.models.exported import calls_beside, module_stack
from tinyscene.training.models.layers import GRN

from ...errors import ExportError
from ..float_steps import Folded, GrnStep, OpStep, Step
from .call import Call
from .decompose import decomposed
from .storage import Storage
from .values import BATCH, Order, Value, View, channels_last, stored_shape, whole

Row = Callable[["Reader", Call], Any]


class Reader(Storage):
    """``values``: the result of each node."""

    def __init__(self, model: nn.Module, table: Mapping[str, Row]) -> None:
        super().__init__()
        self.model, self.table = model, table
        self.values: dict[fx.Node, Any] = {}
        self.makers: dict[str, fx.Node] = {}  # the last node whose result is a step's output

    def take_input(self, node: fx.Node, name: str) -> None:
        """An input of the network, float32 (batch, ...)."""
        shape = _shape(node)
        order = channels_last(len(shape))
        self.shapes[name] = stored_shape(shape, order)
        self.values[node] = whole(name, shape, order)

    def take(self, node: fx.Node) -> None:
        """One call of a function."""
        inputs = [self.values[source] for source in node.all_input_nodes]
        if any(value is None for value in inputs):
            self.refuse_at(self.step_name(node, node.name), "places of the largest or smallest elements are read")
        if all(isinstance(value, Tensor) for value in inputs):
            self.values[node] = node.target(*fx.map_arg(node.args, self._value), **node.kwargs)  # type: ignore[operator]
        elif getattr(node.target, "__name__", "") == "getitem":
            self.values[node] = self.values[node.all_input_nodes[0]][node.args[1]]
        elif isinstance(owner := self._owner(node), GRN):
            self._take_grn(node, owner)
        else:
            self._take_call(node)

    def _value(self, node: fx.Node) -> Any:
        return self.values[node]

    def _take_call(self, node: fx.Node) -> None:
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            self.refuse_at(str(node.name), f"'{node.target}' has no integer form")
        given = dict(zip((argument.name for argument in schema.arguments), node.args, strict=False))
        arguments = {argument.name: argument.default_value for argument in schema.arguments}
        arguments |= fx.map_arg({**given, **node.kwargs}, self._value)
        operator = schema.name.rpartition("::")[2]
        operator = operator.removesuffix("_") if schema.is_mutable else operator
        call = Call(node, operator, self.step_name(node, operator), arguments, _shape(node))
        row = self.table.get(operator)
        self.values[node] = row(self, call) if row is not None else self._take_decomposed(call)
        if schema.is_mutable:
            self._replace_mutated(call)

    def _take_decomposed(self, call: Call) -> Any:
        """An operator without a row, as the operators that PyTorch decomposes it into."""
        parts = decomposed(call.node)
        if parts is None:
            self.refuse(call, f"operator '{call.operator}' has no integer form")
        for part, source in zip(parts.find_nodes(op="placeholder"), call.node.all_input_nodes, strict=True):
            self.values[part] = self.values[source]
        for part in parts.nodes:
            part.meta["nn_module_stack"] = call.node.meta.get("nn_module_stack")
            if part.op == "call_function":
                self.take(part)
            elif part.op == "output":
                return fx.map_arg(part.args[0], self._value)
        raise AssertionError("a decomposed operator ends with its output")

    def _replace_mutated(self, call: Call) -> None:
        """Later readers of a tensor that was modified in place read the result."""
        (first, *_) = call.node.all_input_nodes
        copied = first.target is torch.ops.aten.clone.default
        if not copied and self.makers.get(call.view().name) not in (first, call.node):
            self.refuse(call, f"'{call.operator}' modifies a view of a tensor in place")
        self.values[first] = self.values[call.node]

    def _take_grn(self, node: fx.Node, grn: GRN) -> None:
        """The calls of one GRN; the first reads its input, the last is its result."""
        calls = calls_beside(node)
        if node is not calls[-1]:
            self.values[node] = self.values[calls[0].all_input_nodes[0]] if node is calls[0] else self.values[calls[0]]
            return
        x = self.stored(self.values[calls[0]])
        path = module_stack(node)[-1][1]
        self.values[node] = self.add(node, GrnStep(self.unique(path), (x,), grn), _shape(node))

    def _owner(self, node: fx.Node) -> nn.Module:
        """The module that calls a function."""
        stack = module_stack(node)
        return self.model.get_submodule(stack[-1][1]) if stack else self.model

    def step_name(self, node: fx.Node, operator: str) -> str:
        """The path of the module that calls an operator, with the operator's name if the module has parts."""
        stack = module_stack(node)
        path = stack[-1][1] if stack else ""
        if path and not any(self._owner(node).children()):
            return self.unique(path)
        return self.unique(f"{path}.{operator}" if path else operator)

    def add(self, node: fx.Node, step: Step, shape: tuple[int, ...], order: Order | None = None) -> View:
        """Append a step with a result of PyTorch's ``shape``, stored in ``order``; returns the view of it."""
        order = channels_last(len(shape)) if order is None else order
        assert step.name not in self.steps, step.name
        self.steps[step.name], self.shapes[step.name] = step, stored_shape(shape, order)
        self.makers[step.name] = node
        return whole(step.name, shape, order)

    def fusible(self, call: Call, argument: str = "self") -> Step | None:
        """The step whose output is the argument and has no other reader; None if there is no such step."""
        value, source = call.arguments[argument], call.node.all_input_nodes[0]
        if not isinstance(value, View) or self.makers.get(value.name) is not source or len(source.users) != 1:
            return None
        return self.steps[value.name]

    def fuse(self, call: Call, step: Step) -> View:
        """Replace a step by one that includes the call."""
        self.steps[step.name] = step
        self.makers[step.name] = call.node
        value: View = self.values[call.node.all_input_nodes[0]]
        return value

    def constant(self, value: Value | float, rank: int) -> Tensor:
        """A constant of an elementwise op as float32 in the graph's layout, for another operand of ``rank`` axes."""
        tensor = torch.as_tensor(value, dtype=torch.float32).detach().cpu()
        tensor = tensor.reshape((1,) * (rank - tensor.ndim) + tuple(tensor.shape))
        order = channels_last(rank)
        if len(tensor) == BATCH and bool((tensor[:1] == tensor).all()):
            tensor = tensor[:1]
        return tensor.permute(order).reshape(stored_shape((1, *tensor.shape[1:]), order))

    def folded(self, input_names: tuple[str, ...], outputs: list[View]) -> Folded:
        """All steps that ``outputs`` need; each output is a tensor of its own, written by a step."""
        names: list[str] = []
        for output in outputs:
            name = self.stored(output)
            while name in input_names or name in names:
                name = self.moved(name, ops.Reshape(self.shapes[name]), self.shapes[name])
            names.append(name)
        self._drop_unread(names)
        renamed = self._squeeze_reductions(names)
        names = [renamed.get(name, name) for name in names]
        shapes = {tensor: shape for tensor, shape in self.shapes.items() if tensor in {*input_names, *self.steps}}
        return Folded(tuple(self.steps.values()), input_names, tuple(names), shapes)

    def _drop_unread(self, outputs: list[str]) -> None:
        """Keep the steps that ``outputs`` need."""
        needed, steps = set(outputs), []
        for step in reversed(self.steps.values()):
            if step.name in needed:
                needed |= set(step.inputs)
                steps.append(step)
        self.steps = {step.name: step for step in reversed(steps)}

    def _squeeze_reductions(self, outputs: list[str]) -> dict[str, str]:
        """Let a reduction drop the axes that a reshape, its only reader, removes; returns the reshapes' new names."""
        renamed: dict[str, str] = {}
        for step in list(self.steps.values()):
            self.steps[step.name] = step = _with_inputs(step, renamed)
            source = self.steps.get(step.inputs[0])
            if not (isinstance(step, OpStep) and isinstance(step.op, ops.Reshape) and isinstance(source, OpStep)):
                continue
            if not isinstance(source.op, ops.Reduce) or self._readers(source.name) != 1 or source.name in outputs:
                continue
            kept = tuple(size for axis, size in enumerate(self.shapes[source.name]) if axis not in source.op.axes)
            if source.op.keep_dims and kept == step.op.shape:
                del self.steps[step.name]
                renamed[step.name] = source.name
                self.steps[source.name] = replace(source, op=replace(source.op, keep_dims=False))
                self.shapes[source.name] = kept
        return renamed

    def _readers(self, name: str) -> int:
        return sum(name in step.inputs for step in self.steps.values())

    def refuse(self, call: Call, what: str) -> NoReturn:
        self.refuse_at(call.name, what)

    def refuse_at(self, where: str, what: str) -> NoReturn:
        raise ExportError(
            f"network, '{where}'",
            what,
            expected=f"GRN, or an operator among {', '.join(sorted(self.table))}",
            next_step="write this part of the network with these operators",
        )


def _with_inputs(step: Step, renamed: Mapping[str, str]) -> Step:
    """The step with the new names of its inputs."""
    if isinstance(step, OpStep):
        operands = tuple(renamed.get(o, o) if isinstance(o, str) else o for o in step.operands)
        return replace(step, operands=operands)
    return replace(step, inputs=tuple(renamed.get(name, name) for name in step.inputs))


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(getattr(node.meta.get("val"), "shape", ()))
