"""A network as a list of calls of PyTorch's operators, which a checkpoint can hold: no code of the network is needed.

:mod:`.exported` makes a program of a module. The operators are a closed set, so that a program from outside can do
nothing but arithmetic. Refuses other operators, arguments that an operator refuses, results of more than
``MAX_ELEMENTS`` elements, and names of values or weights that do not exist.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from operator import getitem
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from torch import Tensor, nn

from tinyscene.runtime.errors import GET_ANOTHER
from tinyscene.runtime.graph import MOST_ENDS, MOST_MACS

from ..errors import TrainingError
from .layers import GRN
from .recurrent import LSTM, lstm, lstm_products

GRN_OPERATOR = "grn"  # a module of ours with an integer form of its own
GETITEM = "getitem"  # one of the results of an operator such as split
MAX_CALLS = 4096
MAX_ELEMENTS = 2**22  # of one result, for one clip
_BATCH = 2  # clips of the run that validates a program

# Operators with an integer form: tests hold this against the table of tinyscene.export.quantise.aten.
_MOVING = """
    view reshape _unsafe_view flatten unflatten squeeze unsqueeze permute transpose t numpy_T movedim moveaxis slice
    select narrow split split_with_sizes chunk unbind flip roll channel_shuffle pixel_shuffle pixel_unshuffle expand
    expand_as broadcast_to repeat tile repeat_interleave view_as reshape_as mT adjoint swapaxes tensor_split unfold
    diagonal index index_select
"""
_UNCHANGED = """
    contiguous clone alias detach to dropout feature_dropout alpha_dropout feature_alpha_dropout
    _assert_tensor_metadata
"""
_ARITHMETIC = """
    conv1d conv2d conv_transpose1d conv_transpose2d avg_pool1d avg_pool2d max_pool1d max_pool2d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d batch_norm layer_norm group_norm instance_norm linear
    matmul bmm mm addmm scaled_dot_product_attention mean sum amax amin max min maximum minimum var std softmax
    linalg_vector_norm norm log_softmax pad cat stack upsample_nearest1d upsample_nearest2d _upsample_nearest_exact1d
    _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d zeros_like ones_like full_like new_zeros new_ones
    new_full add sub mul div rsub square pow relu relu6 hardtanh clamp sigmoid tanh hardswish leaky_relu prelu glu lstm
"""
_FUNCTIONS = """
    silu gelu elu selu celu hardsigmoid mish softplus softsign exp abs neg sqrt sin cos atan erf log_sigmoid
    clamp_min clamp_max reciprocal rsqrt log log1p log2 log10 expm1 exp2 hardshrink softshrink threshold sign
    tan asin acos sinh cosh asinh acosh atanh erfc logit nan_to_num floor ceil round trunc sgn
"""
MOVING, UNCHANGED = frozenset(_MOVING.split()), frozenset(_UNCHANGED.split())
FUNCTIONS = frozenset(_FUNCTIONS.split())  # of one element, which no op of the set has
OPERATORS = MOVING | UNCHANGED | FUNCTIONS | frozenset(_ARITHMETIC.split())


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Name = Annotated[str, Field(min_length=1, max_length=256)]


class Value(_Record):
    """The result of a call, or an input."""

    value: Name


class Weight(_Record):
    """A parameter or another constant, by its name in the state."""

    weight: Name


class Batch(_Record):
    """The number of clips, times ``batch``."""

    batch: Annotated[int, Field(ge=1, le=2**20)]


Leaf = Value | Weight | Batch | StrictBool | StrictInt | StrictFloat | StrictStr | None
Argument = Leaf | Annotated[tuple[Leaf, ...], Field(max_length=1024)]


class ProgramCall(_Record):
    """One call: ``operator`` as ``name.overload`` of ATen, or ``grn``, or ``getitem``.

    ``name``: of the result. ``module``: path of the module that makes the call, "" for the network itself.
    """

    name: Name
    module: Annotated[str, Field(max_length=1024)]
    operator: Name
    args: Annotated[tuple[Argument, ...], Field(max_length=64)]
    kwargs: Annotated[dict[Name, Argument], Field(max_length=16)] = {}

    @property
    def kind(self) -> str:
        """The operator without its overload."""
        return self.operator.partition(".")[0]


class End(_Record):
    """An input, or a value that is an output: float32 (batch, *shape)."""

    name: Name
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_ELEMENTS)], ...], Field(min_length=1, max_length=5)]


Ends = Annotated[tuple[End, ...], Field(min_length=1, max_length=MOST_ENDS)]


class Program(_Record):
    """Calls in execution order, from the inputs to the outputs, which are results of calls.

    ``parameters``: names of the weights that are trained; the others are statistics and constants, of which the network
    that the program was made of does not have those in ``computed``.
    """

    inputs: Ends
    calls: Annotated[tuple[ProgramCall, ...], Field(min_length=1, max_length=MAX_CALLS)]
    outputs: Ends
    parameters: Annotated[tuple[Name, ...], Field(max_length=MAX_CALLS)] = ()
    computed: Annotated[tuple[Name, ...], Field(max_length=MAX_CALLS)] = ()

    @property
    def name(self) -> str:
        """For messages; a program has no name of its own."""
        return f"network of {len(self.calls)} calls"

    @property
    def n_classes(self) -> int | None:
        """Elements of the output, if it is one row; None for any other output, and for several."""
        shape = self.outputs[0].shape
        return shape[0] if len(self.outputs) == len(shape) == 1 else None


def leaves(call: ProgramCall) -> Iterator[Leaf]:
    """All arguments of a call, those in lists too."""
    for argument in (*call.args, *call.kwargs.values()):
        yield from argument if isinstance(argument, tuple) else (argument,)


def aten_operator(operator: str) -> Callable[..., Any]:
    """PyTorch's function of ``name.overload``; raises AttributeError if there is none."""
    kind, _, overload = operator.partition(".")
    function: Callable[..., Any] = getattr(getattr(torch.ops.aten, kind), overload)
    return function


def function_of(operator: str) -> Callable[..., Any]:
    """What a program computes for an operator."""
    return lstm if operator == LSTM else aten_operator(operator)


def named_arguments(call: ProgramCall) -> dict[str, Argument]:
    """The arguments of a call of an operator of ATen by their names, with the operator's defaults."""
    arguments = aten_operator(call.operator)._schema.arguments  # type: ignore[attr-defined]
    defaults = {each.name: tuple(d) if isinstance(d := each.default_value, list) else d for each in arguments}
    return {**defaults, **dict(zip(defaults, call.args, strict=False)), **call.kwargs}


class ProgramNetwork(nn.Module):
    """A program as a module, in evaluation mode: from its inputs to its only output, or to a tuple of its outputs.

    Modules and weights have the names that they have in the program, so that its state is the network's own. Refuses a
    part that is called ``program``. :func:`network_of` makes one of content that is not known to be valid.
    """

    def __init__(self, program: Program, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.program = program
        self._call_paths = call_paths(program)
        for call, path in zip(program.calls, self._call_paths, strict=True):
            parent, _, name = path.rpartition(".")
            _module_at(self, parent).add_module(
                name, GRN() if call.operator == GRN_OPERATOR else _Operation(call.operator)
            )
        for name, tensor in state.items():
            parent, _, leaf = name.rpartition(".")
            value = tensor.float() if tensor.is_floating_point() else tensor
            if name in program.parameters:
                _module_at(self, parent).register_parameter(leaf, nn.Parameter(value))
            else:
                _module_at(self, parent).register_buffer(leaf, value)
        self.eval()

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        results = {call.name: result for call, _, result in self._call_results(*inputs)}
        outputs: tuple[Tensor, ...] = tuple(results[end.name] for end in self.program.outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    def _call_results(self, *inputs: Tensor) -> Iterator[tuple[ProgramCall, list[Any], Any]]:
        """Each call with its arguments and its result, in execution order."""
        values: dict[str, Any] = {end.name: x for end, x in zip(self.program.inputs, inputs, strict=True)}
        weights = dict(self.named_parameters()) | dict(self.named_buffers())

        def of(argument: Argument) -> Any:
            if isinstance(argument, Value):
                return values[argument.value]
            if isinstance(argument, Weight):
                return weights[argument.weight]
            if isinstance(argument, Batch):
                return argument.batch * inputs[0].shape[0]
            return [of(leaf) for leaf in argument] if isinstance(argument, tuple) else argument

        for call, path in zip(self.program.calls, self._call_paths, strict=True):
            arguments = [of(argument) for argument in call.args]
            options = {name: of(argument) for name, argument in call.kwargs.items()}
            values[call.name] = self.get_submodule(path)(*arguments, **options)
            yield call, arguments, values[call.name]


class _Operation(nn.Module):
    """One operator; it has no weights of its own, but its place in the network may hold some."""

    def __init__(self, operator: str) -> None:
        super().__init__()
        kind = operator.partition(".")[0]
        packed = LSTM.startswith(f"{kind}.") and operator != LSTM
        if kind != GETITEM and (kind not in OPERATORS or kind.endswith("_") or packed):
            raise ValueError(f"operator '{operator[:80]}' has no integer form")
        # A view depends on how a tensor lies in memory, which no call says; a reshape is the same numbers.
        as_numbers = "reshape.default" if kind == "view" else operator
        self._function: Callable[..., Any] = getitem if kind == GETITEM else function_of(as_numbers)

    def forward(self, *arguments: Any, **options: Any) -> Any:
        return self._function(*arguments, **options)


def _module_at(network: nn.Module, path: str) -> nn.Module:
    """The module of that path; missing ones are added."""
    module = network
    for part in filter(None, path.split(".")):
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module.get_submodule(part)
    return module


def call_paths(program: Program) -> list[str]:
    """A path for each call, which no other has: that of its module, or one below it where something else is there."""
    modules = {call.module for call in program.calls}
    parents = {"", *(path[:at] for path in modules for at, letter in enumerate(path) if letter == ".")}
    places: dict[str, None] = {}
    for call in program.calls:
        place = call.module
        if place in parents or place in places:
            inside = f"{call.module}.{call.kind}".removeprefix(".")
            place = next(name for name in _numbered(inside) if name not in places and name not in parents | modules)
        places[place] = None
    return list(places)


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{number}" for number in itertools.count(1))


def network_of(program: Program, state: Mapping[str, Tensor], where: str) -> ProgramNetwork:
    """The network of a program, which is run first without numbers, on PyTorch's ``meta`` device, and then with zeros.

    Raises:
        TrainingError: see the refusals of this file; ``where`` is what was read.
    """
    try:
        shapes = _result_shapes(_without_numbers(program, state))
        _require_places(program, state, shapes)
        network = ProgramNetwork(program, state)
        _result_shapes(network)  # some operators refuse their arguments only then
        return network
    except Exception as problem:  # the operators of PyTorch raise any type
        reason = (str(problem).splitlines() or [type(problem).__name__])[0][:160]
        raise TrainingError(where, "its network cannot be built", got=reason, next_step=GET_ANOTHER) from problem


def _require_places(program: Program, state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError where an operator reads elements by places that its input does not have."""
    for call in program.calls:
        if call.kind not in ("index", "index_select"):
            continue
        source, second = call.args[:2]  # ValueError, if there are fewer
        if not isinstance(source, Value):
            raise ValueError(f"call '{call.name}' takes elements of no value")
        sizes, rest = (_BATCH, *shapes[source.value]), call.args[2:]
        axis = second if isinstance(second, int) else 0
        places = enumerate(second) if isinstance(second, tuple) else ((axis, leaf) for leaf in rest)
        for at, leaf in places:
            if isinstance(leaf, Weight) and not _inside(state[leaf.weight], sizes[at]):
                raise ValueError(f"call '{call.name}' reads places beyond its input")


def _inside(places: Tensor, size: int) -> bool:
    return not places.is_floating_point() and bool(((places >= -size) & (places < size)).all())


def result_shapes(network: ProgramNetwork) -> dict[str, tuple[int, ...]]:
    """Shapes, without the batch, of the inputs and of each result that is one tensor, for a network that is valid.

    The batch may be on any axis, or part of one; a result that does not depend on it has its first axis left out. Of an
    LSTM, the shape of its outputs.
    """
    program = network.program
    shapes = {end.name: end.shape for end in program.inputs}
    two, three = (_sizes(_without_numbers(program, network.state_dict()), clips) for clips in (2, 3))
    for name, sizes in two.items():
        axis = next((at for at, pair in enumerate(zip(sizes, three[name], strict=True)) if len({*pair}) > 1), 0)
        rows = three[name][axis] - sizes[axis]
        shapes[name] = (*sizes[:axis], *([rows] if rows > 1 else []), *sizes[axis + 1 :])
    return shapes


def _sizes(network: ProgramNetwork, clips: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the results that are one tensor, and of the outputs of each LSTM, for a number of clips."""
    inputs = [torch.zeros(clips, *end.shape, device="meta") for end in network.program.inputs]
    results = ((call, result) for call, _, result in network._call_results(*inputs))
    firsts = ((call.name, result[0] if call.operator == LSTM else result) for call, result in results)
    return {name: tuple(result.shape) for name, result in firsts if isinstance(result, Tensor)}


def _without_numbers(program: Program, state: Mapping[str, Tensor]) -> ProgramNetwork:
    """The network on PyTorch's ``meta`` device, where only shapes are computed."""
    return ProgramNetwork(program, {name: tensor.to("meta") for name, tensor in state.items()})


def _result_shapes(network: ProgramNetwork) -> dict[str, tuple[int, ...]]:
    """As :func:`result_shapes`.

    Raises:
        ValueError: two values of one name, a result that is too large, no tensor, too many multiply-accumulates, or an
            output that no call makes, or that has another shape.
    """
    program = network.program
    sources, products = {end.name: end.shape for end in program.inputs}, 0
    shapes = dict(sources)
    if len({*shapes, *(call.name for call in program.calls)}) != len(program.inputs) + len(program.calls):
        raise ValueError("two values have one name")
    device = next((tensor.device for tensor in network.state_dict().values()), torch.device("cpu"))
    outputs = {end.name for end in program.outputs}
    zeros = [torch.zeros(_BATCH, *end.shape, device=device) for end in program.inputs]
    with torch.no_grad():
        for call, arguments, result in network._call_results(*zeros):
            for part in result if isinstance(result, list | tuple) else (result,):
                if not isinstance(part, Tensor) or part.numel() > _BATCH * MAX_ELEMENTS or part.ndim < 1:
                    raise ValueError(f"the result of call '{call.name}' is too large, or no tensor")
            if isinstance(result, Tensor):
                if call.name in outputs and len(result) != _BATCH:
                    raise ValueError(f"its output '{call.name}' mixes clips")
                shapes[call.name] = tuple(result.shape[1:])
                products += _products(call, arguments, result)
            elif call.operator == LSTM:
                products += lstm_products(arguments[0], arguments[2])
            if products > _BATCH * MOST_MACS:
                raise ValueError(f"more than {MOST_MACS:,} multiply-accumulates up to call '{call.name}'")
    for end in program.outputs:
        if end.name in sources or shapes.get(end.name) != end.shape:
            raise ValueError(f"its output '{end.name}' is no tensor of {list(end.shape)} numbers for each clip")
    return shapes


def _products(call: ProgramCall, arguments: list[Any], result: Tensor) -> int:
    """Elements that a call reads for all of its results: an upper bound of its work."""
    if call.kind.startswith("conv"):
        x, weight = arguments[0], arguments[1]
        positions = x if "transpose" in call.kind else result
        products: int = positions.numel() * max(1, weight.numel() // weight.shape[0])
        return products
    if call.kind.startswith("adaptive"):
        return result.numel() + 4 * int(arguments[0].numel())  # windows overlap by less than their size on each axis
    if "pool" in call.kind:
        window = arguments[1]
        return result.numel() * math.prod(window if isinstance(window, list) else [window] * (result.ndim - 2))
    if call.kind in ("linear", "matmul", "bmm", "mm", "addmm", "scaled_dot_product_attention"):
        longest: int = max(argument.shape[-1] for argument in arguments[:2] if isinstance(argument, Tensor))
        return result.numel() * longest
    return result.numel()
