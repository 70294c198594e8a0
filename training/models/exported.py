"""Make a program of a module: what torch.export sees of one call in evaluation mode, for any number of clips.

Constants that are computed from weights are computed once, here. Refuses modules that torch.export refuses, outputs
that do not depend on an input or are one, sizes that depend on the number of clips in another way than by a factor,
results that are not float32, and operators without an integer form, by the name of the module.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

from ..errors import TrainingError
from .layers import GRN
from .program import (
    GETITEM,
    GRN_OPERATOR,
    OPERATORS,
    UNCHANGED,
    Batch,
    End,
    Program,
    ProgramCall,
    ProgramNetwork,
    Value,
    Weight,
)
from .recurrent import LSTM, WholeLstm

_FILLED = ("zeros", "ones", "full")  # a program makes them like its input, with the device and type of that
_OF_STORAGE = {"dtype", "layout", "device", "pin_memory", "memory_format"}  # options of filled tensors: all are float32
_NO_OPERATOR = "TensorFlow Lite Micro has no such operator, only that of an LSTM"
_REASONS = {
    "gru": f"a GRU has no integer form: {_NO_OPERATOR}",
    **dict.fromkeys(("rnn_tanh", "rnn_relu"), f"a plain RNN has no integer form: {_NO_OPERATOR}"),
    "gru_cell": f"a cell of a GRU has no integer form: {_NO_OPERATOR}",
    "lstm_cell": "a single cell of an LSTM has no integer form; nn.LSTM over the whole sequence has one",
}
_BATCH = 2  # clips of the example: unlike the sizes 0 and 1, it is no special case for torch.export


def exported(model: nn.Module, *examples: Tensor, any_batch: bool = False) -> ExportedProgram:
    """``torch.export`` of a module in evaluation mode.

    Args:
        examples: of each input.
        any_batch: for any number of clips, not only that of ``examples``.

    Raises:
        TrainingError: torch.export cannot export it.
    """
    batch = Dim("batch")
    dynamic = ({0: batch},) * len(examples) if any_batch else None
    try:
        with WholeLstm(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The tensor attributes self.*_flat_weights")  # PyTorch's own, of an LSTM
            return torch.export.export(model.eval(), examples, dynamic_shapes=dynamic, strict=False)
    except Exception as error:  # torch.export runs the network's own code, which raises any type
        raise TrainingError(
            "network",
            "torch.export cannot export it",
            expected=f"a module that takes float32 {' and '.join(map(_shape_text, examples))}, without control flow "
            "that depends on values",
            got=(str(error).splitlines() or [type(error).__name__])[0][:300],
            next_step="run torch.export.export on it to see the whole error",
        ) from error


def _shape_text(example: Tensor) -> str:
    return f"({', '.join(['batch', *map(str, example.shape[1:])])})"


def constants(program: ExportedProgram) -> dict[str, tuple[str, Tensor]]:
    """Name in the state, and value, of each weight and other constant, by the name of the program's input."""
    found: dict[str, tuple[str, Tensor]] = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind != InputKind.USER_INPUT:
            assert spec.target is not None
            stored = program.state_dict if spec.target in program.state_dict else program.constants
            found[spec.arg.name] = spec.target, stored[spec.target]
    return found


def module_stack(node: fx.Node) -> list[tuple[str, str]]:
    """Key and path of each module that a call is inside of, the innermost last."""
    stack: Mapping[str, tuple[str, object]] = node.meta.get("nn_module_stack") or {}
    return [(key, path.partition("@")[0]) for key, (path, _) in stack.items()]


def calls_beside(node: fx.Node) -> list[fx.Node]:
    """All calls of the innermost module that makes a call, in their order."""
    return [other for other in node.graph.nodes if module_stack(other)[-1:] == module_stack(node)[-1:]]


def program_network(model: nn.Module, *input_shapes: tuple[int, ...]) -> ProgramNetwork:
    """``model`` in evaluation mode as a program, with its weights, for inputs of these shapes, without the batch.

    A network that is a program already stays as it is. Raises TrainingError.
    """
    if isinstance(model, ProgramNetwork):
        return model
    some = next(model.parameters(), torch.empty(0))
    program = exported(model, *(some.new_zeros(_BATCH, *shape) for shape in input_shapes), any_batch=True)
    return _Writer(model, constants(program)).network(program)


class _Writer:
    """Goes through the calls of an exported program and collects those of the :class:`Program`."""

    def __init__(self, model: nn.Module, known: Mapping[str, tuple[str, Tensor]]) -> None:
        self.model, self.known = model, known
        self.values: dict[fx.Node, Any] = {}  # Value, Batch, a constant tensor, or a list of such
        self.state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
        self.names = {id(tensor): name for name, tensor in known.values()}
        self.calls: list[ProgramCall] = []

    def network(self, program: ExportedProgram) -> ProgramNetwork:
        inputs: list[End] = []
        outputs: tuple[End, ...] = ()
        for node in program.graph.nodes:
            if node.op == "placeholder" and node.name in self.known:
                self.values[node] = self.known[node.name][1]
            elif node.op == "placeholder":
                inputs.append(self._input(node))
            elif node.op == "call_function":
                self._take(node)
            else:
                outputs = tuple(self._output(result) for result in node.args[0])
        parameters = tuple(name for name, _ in self.model.named_parameters())
        computed = self.state.keys() - self.model.state_dict().keys()
        try:
            record = Program(
                inputs=tuple(inputs),
                calls=tuple(self.calls),
                outputs=outputs,
                parameters=parameters,
                computed=tuple(sorted(computed)),
            )
        except ValidationError as problem:
            got = " ".join(str(problem).split())[:160]
            raise TrainingError("network", "is no program that a checkpoint can hold", got=got) from problem
        try:
            return ProgramNetwork(record, self.state)
        except KeyError as problem:  # of a name that is taken
            raise TrainingError("network", str(problem.args[0]), next_step="give this part another name") from problem

    def _take(self, node: fx.Node) -> None:
        found = node.meta.get("val")
        sources = [self.values[source] for source in node.all_input_nodes]
        if isinstance(found, torch.SymInt | int) and not isinstance(found, bool):
            self.values[node] = self._size(node, found)
        elif all(isinstance(value, Tensor) for value in sources):
            with torch.no_grad():
                self.values[node] = node.target(*fx.map_arg(node.args, self.values.get), **node.kwargs)  # type: ignore[operator]
        elif grn := self._grn(node):
            self._take_grn(node, grn)
        elif found is not None or node.target.__name__ == GETITEM:  # type: ignore[union-attr]
            self._take_call(node)

    def _size(self, node: fx.Node, size: torch.SymInt | int) -> Batch | int:
        """A size that is known, or a multiple of the number of clips."""
        if isinstance(size, int):
            return size
        expression = size.node.expr
        if len(expression.free_symbols) == 1:
            (clips,) = expression.free_symbols
            factor = expression / clips
            if factor.is_Integer:
                return Batch(batch=int(factor))
        raise self._refused(node, f"a size of {str(expression)[:80]}: expected a multiple of the number of clips")

    def _grn(self, node: fx.Node) -> str | None:
        """The path of the GRN that makes a call."""
        stack = module_stack(node)
        path = stack[-1][1] if stack else ""
        return path if path and isinstance(self.model.get_submodule(path), GRN) else None

    def _take_grn(self, node: fx.Node, path: str) -> None:
        """The calls of one GRN; the first reads its input, the last is its result."""
        calls = calls_beside(node)
        if node is calls[-1]:
            source = self.values[calls[0].all_input_nodes[0]]
            self._add(node, ProgramCall(name=node.name, module=path, operator=GRN_OPERATOR, args=(source,)))
        else:
            self.values[node] = Value(value=node.name)  # only read inside

    def _take_call(self, node: fx.Node) -> None:
        operator, mutable = _operator(node)
        kind = operator.partition(".")[0]
        if kind == GETITEM and not node.users:
            return  # such as the places of largest elements, of which only the values are read
        if kind in UNCHANGED:
            self.values[node] = self.values[node.all_input_nodes[0]]
            return
        given, options = node.args, node.kwargs
        if kind in _FILLED:
            source = next(source for source, value in self.values.items() if isinstance(value, Value))
            operator, kind, given = f"new_{operator}", f"new_{kind}", (source, *given)
        if kind.startswith("new_") or kind.endswith("_like"):
            options = {name: option for name, option in options.items() if name not in _OF_STORAGE}
        if kind not in OPERATORS | {GETITEM}:
            raise self._refused(node, _REASONS.get(kind, f"operator '{kind}' has no integer form"))
        stack = module_stack(node)
        args = tuple(self._argument(node, argument) for argument in given)
        kwargs = {name: self._argument(node, option) for name, option in options.items()}
        record = ProgramCall(
            name=node.name, module=stack[-1][1] if stack else "", operator=operator, args=args, kwargs=kwargs
        )
        self._add(node, record)
        if mutable:  # later readers of the modified tensor read the result
            self.values[node.all_input_nodes[0]] = self.values[node]

    def _add(self, node: fx.Node, call: ProgramCall) -> None:
        self.calls.append(call)
        self.values[node] = Value(value=node.name)
        found = node.meta.get("val")
        if isinstance(found, Tensor) and found.dtype != torch.float32:
            raise self._refused(node, f"its result is {found.dtype}, not float32")

    def _argument(self, node: fx.Node, argument: Any) -> Any:
        if isinstance(argument, list | tuple):
            return tuple(self._argument(node, each) for each in argument)
        value = self.values[argument] if isinstance(argument, fx.Node) else argument
        if isinstance(value, Tensor):
            return Weight(weight=self._weight_name(value))
        if value is None or isinstance(value, Value | Batch | bool | int | float | str):
            return value
        raise self._refused(node, f"an argument of type {type(value).__name__} has no form in a program")

    def _weight_name(self, tensor: Tensor) -> str:
        """The name of a constant in the state, to which it is added if it was computed."""
        if id(tensor) not in self.names:
            self.names[id(tensor)] = f"constant_{len(self.names)}"
        name = self.names[id(tensor)]
        self.state.setdefault(name, tensor.detach())
        return name

    def _input(self, node: fx.Node) -> End:
        if not node.users:
            step = "leave it out of the network's forward"
            raise TrainingError(f"network, input '{node.name}'", "nothing depends on it", next_step=step)
        self.values[node] = Value(value=node.name)
        return End(name=node.name, shape=tuple(node.meta["val"].shape[1:]))

    def _output(self, result: Any) -> End:
        """``result``: the node of the output."""
        value = self.values[result] if isinstance(result, fx.Node) else result
        if not isinstance(value, Value) or value.value not in {call.name for call in self.calls}:
            what = "an output does not depend on an input, or is one"
            raise TrainingError("network", what, expected="tensors that are computed from the inputs", got=result)
        shape = tuple(result.meta["val"].shape)
        batch, expected = shape[0] if shape else 1, "one row for each clip, (batch, ...)"
        mixed = isinstance(batch, int) or not batch.node.expr.is_Symbol
        if len(shape) < 2 or mixed or not all(isinstance(size, int) for size in shape[1:]):
            raise TrainingError("network", "an output has another shape", expected=expected, got=list(map(str, shape)))
        return End(name=value.value, shape=shape[1:])

    def _refused(self, node: fx.Node, what: str) -> TrainingError:
        stack = module_stack(node)
        where = f"network, '{stack[-1][1] if stack else node.name}'"
        step = "write this part of the network with operators that the page docs/operators.md lists"
        return TrainingError(where, what, next_step=step)


def _operator(node: fx.Node) -> tuple[str, bool]:
    """The operator with its overload, of the form that modifies nothing; and whether the call modifies its argument."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return str(getattr(node.target, "__name__", node.target)), False
    if node.target is torch.ops.tinyscene.lstm.default:
        return LSTM, False
    name = schema.name.removeprefix("aten::")
    name = name.removesuffix("_") if schema.is_mutable else name
    return f"{name}.{schema.overload_name or 'default'}", schema.is_mutable
