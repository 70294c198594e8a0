"""Graph -> model.c and model.h: constant data and the list of kernel calls; the kernels are hand-written in c/.

The files contain the constants of both rounding rules; a macro of the build selects one. Refuses ops without a C
kernel.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.cost import graph_cost
from tinyscene.runtime.graph import Graph, Tensor
from tinyscene.runtime.plan import ALIGNMENT, Plan
from tinyscene.runtime.states import state_bytes

from .c_text import LINE_COLUMNS, comment, float_literal, header_name, identifier, integer, string
from .constant_block import INDENT, ROUNDING_MACRO, ConstantBlock, by_rule
from .constant_bytes import ConstantBytes, constant_bytes, crc32_macro
from .kernel_set import PORTABLE, KernelSet
from .records import ByRule, Fields, Macro, Scale, Values, codes_of
from .schedule import Call, Optimise, plan_calls, schedule
from .version import version_macros

CONSTANTS = "ts_model_constants"


@dataclass(frozen=True, eq=False)
class Emitted:
    """The two files of one graph for one kernel set, and the arena plan."""

    graph: Graph
    kernels: KernelSet
    calls: tuple[Call, ...]
    plan: Plan
    model_c: str
    model_h: str
    digest: str

    @property
    def constant_bytes(self) -> int:
        """Bytes of the layers' constant arrays, without their records and without constant activations."""
        repeated = (array.n_bytes for _, array in _repeated_arrays(self.graph, self.calls).values())
        return sum(array.n_bytes for call in self.calls for array in call.layer.arrays()) - sum(repeated)

    def write(self, folder: Path) -> None:
        """Write model.c, model.h and the sources of the kernel set."""
        folder.mkdir(parents=True, exist_ok=True)
        for source in self.kernels.sources():
            (folder / source.name).write_text(source.read_text())
        (folder / "model.c").write_text(self.model_c)
        (folder / "model.h").write_text(self.model_h)


def emit(
    graph: Graph,
    kernels: KernelSet = PORTABLE,
    optimise: Optimise = "layers",
    calls: tuple[Call, ...] | None = None,
) -> Emitted:
    """Emit a graph as C.

    Args:
        graph: the model.
        kernels: the CPU's kernel set.
        optimise: how calls are chosen, see :mod:`tinyscene.firmware_harness.emit.schedule`.
        calls: the calls themselves, instead of ``optimise`` (:mod:`tinyscene.firmware_harness.run.tune`).

    Raises:
        RuntimeFailure: the graph is inconsistent.
        FirmwareError: an op without a C kernel.
    """
    graph.check()
    calls = schedule(graph, kernels, optimise) if calls is None else calls
    arena, digest = plan_calls(graph, calls), graph_digest(graph)
    model_c = "\n".join(_model_c(graph, arena, calls, digest)) + "\n"
    single, double = (model_constants(model_c, kernels, rounding) for rounding in ("single", "double"))
    model_h = "\n".join(_model_h(graph, arena, calls, digest, single, double)) + "\n"
    return Emitted(graph, kernels, calls, arena, model_c, model_h, digest)


def model_constants(model_c: str, kernels: KernelSet, rounding: Rounding) -> ConstantBytes:
    """The constants of an emitted model as bytes, under one rounding rule."""
    headers = "\n".join(path.read_text() for path in kernels.sources() if path.suffix == ".h")
    return constant_bytes(model_c, CONSTANTS, headers, {ROUNDING_MACRO: rounding == "single"})


def graph_digest(graph: Graph) -> str:
    """SHA-256 over everything that determines the model's output, and its labels."""
    record = hashlib.sha256(repr((*graph.inputs, *graph.outputs, graph.labels, graph.nodes, *graph.states)).encode())
    for tensor in (*graph.activations(), *graph.constants()):
        record.update(repr((tensor.name, tensor.shape, tensor.dtype, tensor.quant)).encode())
        if tensor.data is not None:
            record.update(np.ascontiguousarray(tensor.data, tensor.data.dtype.newbyteorder("<")).tobytes())
    return record.hexdigest()


def _model_h(
    graph: Graph, arena: Plan, calls: tuple[Call, ...], digest: str, single: ConstantBytes, double: ConstantBytes
) -> Iterator[str]:
    yield f"/* Emitted by tinyscene from graph {comment(graph.name)}. Do not edit; emit it again."
    yield " *"
    yield " * Compile every .c file of this folder as C99 with -ffp-contract=off. The rounding rule is fixed-point"
    yield f" * (TFLite Micro, CMSIS-NN), or with -D{ROUNDING_MACRO} float32 (XNNPACK, ONNX Runtime). */"
    yield "#ifndef MODEL_H\n#define MODEL_H\n"
    yield f'#define TS_MODEL_DIGEST "{digest}"'
    yield f"#define TS_MODEL_DIGEST_WORD 0x{digest[:8]}u"
    yield from (f"#define {name} {value}" for name, value in version_macros("TS_MODEL_"))
    yield f"#define TS_MODEL_LAYERS {len(calls)}"
    yield f"#define TS_MODEL_ARENA_BYTES {arena.arena_bytes}"
    yield f"#define TS_MODEL_ARENA_ALIGNMENT {ALIGNMENT}"
    yield "\n/* size and CRC-32 of all constants, layer records included, see ts_check.h */"
    yield from by_rule(_checksum(single), _checksum(double))
    yield from _several_ends(graph, arena) if has_several_ends(graph) else _ends(graph, arena)
    yield from _states(graph, arena)
    if graph.labels:
        yield f"#define TS_MODEL_LABELS {{{', '.join(map(string, graph.labels))}}}"
    yield '\n#include "ts_invoke.h"\n\n#endif'


def has_several_ends(graph: Graph) -> bool:
    """Whether inputs and outputs are given as arrays of pointers."""
    return len(graph.given) + len(graph.results) > 2


def _ends(graph: Graph, arena: Plan) -> Iterator[str]:
    """The only input and the only output."""
    source, out = graph.tensors[graph.input], graph.tensors[graph.output]
    yield f"\n/* real value = scale * (code - zero point); input {_shape(source)}, output {_shape(out)} */"
    for name, tensor in (("INPUT", source), ("OUTPUT", out)):
        yield from _end(name, tensor)
    yield f"#define TS_MODEL_INPUT_OFFSET {arena.offsets[graph.input]} /* where the arena has room for the input */"


def _several_ends(graph: Graph, arena: Plan) -> Iterator[str]:
    """Every input and output with its number; the sizes of all together, and the arrays of their places."""
    yield "\n/* real value = scale * (code - zero point); OFFSET: where the arena has room for it */"
    for kind, names in (("INPUT", graph.given), ("OUTPUT", graph.results)):
        tensors = [graph.tensors[name] for name in names]
        yield f"#define TS_MODEL_{kind}S {len(names)}"
        yield f"#define TS_MODEL_{kind}S_BYTES {sum(tensor.n_bytes for tensor in tensors)}"
        for number, tensor in enumerate(tensors):
            yield f"/* {kind.lower()} {number}: {comment(tensor.name)} {_shape(tensor)} */"
            yield from _end(f"{kind}_{number}", tensor)
            yield f"#define TS_MODEL_{kind}_{number}_OFFSET {arena.offsets[tensor.name]}"
        places = [f"{{TS_MODEL_{kind}_{n}_BYTES, TS_MODEL_{kind}_{n}_OFFSET}}" for n in range(len(names))]
        yield f"#define TS_MODEL_{kind}_PLACES \\\n    {{ " + ", \\\n      ".join(places) + " }"


def _states(graph: Graph, arena: Plan) -> Iterator[str]:
    """Where the states are between runs."""
    if not graph.states:
        return
    tensors = [graph.tensors[state.input] for state in graph.states]
    yield f"\n/* kept in the arena between runs: {', '.join(comment(tensor.name) for tensor in tensors)} */"
    yield f"#define TS_MODEL_STATES {len(tensors)}"
    yield f"#define TS_MODEL_STATES_BYTES {state_bytes(graph)}"
    places = [f"{{{tensor.n_bytes}, {arena.offsets[tensor.name]}}}" for tensor in tensors]
    yield "#define TS_MODEL_STATE_PLACES \\\n    { " + ", \\\n      ".join(places) + " }"


def _end(name: str, tensor: Tensor) -> Iterator[str]:
    yield f"#define TS_MODEL_{name}_BYTES {tensor.n_bytes}"
    yield f"#define TS_MODEL_{name}_SCALE {float_literal(tensor.quant.scale[0])}"
    yield f"#define TS_MODEL_{name}_ZERO_POINT ({integer(tensor.quant.zero_point)})"


def _checksum(constants: ConstantBytes) -> list[str]:
    size = f"#define TS_MODEL_CONSTANT_BYTES {constants.size}"
    return [size, *crc32_macro("TS_MODEL_CRC32", *constants.crc32)]


def _model_c(graph: Graph, arena: Plan, calls: tuple[Call, ...], digest: str) -> Iterator[str]:
    yield f"/* Emitted by tinyscene from graph {comment(graph.name)}. Do not edit; emit it again."
    yield f" * Digest {digest}. */"
    yield from ["#include <string.h>\n"] if graph.states else []
    yield '#include "model.h"\n#include "ts_model.h"'
    yield from (f'#include "{header_name(header)}"' for header in sorted({call.layer.header for call in calls}))
    yield "\n/* clang-format off */\n"
    names = _constant_inputs(graph)
    yield from _constants(graph, calls, names).lines("TsModelConstants", CONSTANTS)
    yield f"\ntypedef char bytes_as_emitted[sizeof {CONSTANTS} == TS_MODEL_CONSTANT_BYTES ? 1 : -1];"
    yield f"\nconst void* ts_model_data(void) {{\n    return &{CONSTANTS};\n}}"
    yield "\nconst int8_t* TS_RUN_LAYERS(input, arena) {"
    if not any(name in graph.given for call in calls for name in call.inputs):
        yield "    (void)input;"
    for index, call in enumerate(calls):
        addresses = [_address(graph, arena, names, name) for name in (*call.inputs, call.output)]
        inputs = addresses[:-1]
        if call.layer.inputs_in_array:
            inputs = [f"(const int8_t* const[]){{{', '.join(inputs)}}}"]
        scratch = [f"arena + {arena.offsets[call.scratch]}"] if call.layer.scratch_bytes else []
        title = comment(graph.nodes[call.nodes.stop - 1].name)
        arguments = ", ".join([f"&{CONSTANTS}.layer_{index}", *inputs, addresses[-1], *scratch])
        yield f"    {identifier(call.layer.kernel)}({arguments}); /* {title} */"
        yield f"    TS_WROTE({index}, {addresses[-1]}, {graph.tensors[call.output].n_bytes});"
    yield f"    return {'arena' if has_several_ends(graph) else _address(graph, arena, names, graph.output)};\n}}"
    yield from _functions_of_states(graph, arena)


def _functions_of_states(graph: Graph, arena: Plan) -> Iterator[str]:
    """What writes the codes of the states before the first run, and what moves those that are not written in place."""
    if not graph.states:
        return
    yield "\nvoid ts_model_begin(int8_t* arena) {"
    for number, state in enumerate(graph.states):
        to, n_bytes = f"arena + {arena.offsets[state.input]}", graph.tensors[state.input].n_bytes
        if len(state.initial) == 1:
            yield f"    memset({to}, {integer(state.initial[0])}, {n_bytes});"
        else:
            yield f"    memcpy({to}, {CONSTANTS}.initial_{number}, {n_bytes});"
    yield "}\n\nvoid ts_model_keep(int8_t* arena) {"
    places = [(arena.offsets[state.input], arena.offsets[state.output], state.input) for state in graph.states]
    moved = [(to, at, graph.tensors[name].n_bytes) for to, at, name in places if to != at]
    yield from [f"    memcpy(arena + {to}, arena + {at}, {n_bytes});" for to, at, n_bytes in moved] or [
        "    (void)arena;"
    ]
    yield "}"


def _constants(graph: Graph, calls: tuple[Call, ...], constant_inputs: dict[str, str]) -> ConstantBlock:
    """Everything constant: inputs, and the record and the arrays of each call."""
    block = ConstantBlock()
    for tensor_name, c_name in constant_inputs.items():
        tensor = graph.tensors[tensor_name]
        block.comment(f"constant {comment(tensor_name)} {_shape(tensor)}")
        block.array("int8_t", c_name, map(str, codes_of(tensor).ravel().tolist()))
    for number, state in enumerate(graph.states):
        if len(state.initial) > 1:
            block.comment(f"initial {comment(state.input)}")
            block.array("int8_t", f"initial_{number}", map(str, state.initial))
    costs = graph_cost(graph, "stored").layers
    elsewhere = {name: first for name, (first, _) in _repeated_arrays(graph, calls).items()}
    for index, call in enumerate(calls):
        for at in call.nodes:
            block.comment(_headline(graph, at, costs[at].macs))
        name = f"layer_{index}"
        block.record(call.layer.record, name, _initialised(name, name, call.layer.fields, 2 * INDENT, elsewhere))
        _add_arrays(block, name, call.layer.fields, elsewhere)
    return block


def _repeated_arrays(graph: Graph, calls: tuple[Call, ...]) -> dict[str, tuple[str, Values]]:
    """Arrays that equal one of an earlier call with the same weights: by C name, the C name of the first."""
    first: dict[object, str] = {}
    repeated: dict[str, tuple[str, Values]] = {}
    for index, call in enumerate(calls):
        weights = tuple(
            tensor.name for at in call.nodes for tensor in graph.ins(graph.nodes[at]) if tensor.data is not None
        )
        for path, array in _named_arrays("", call.layer.fields):
            own = f"layer_{index}{path}"
            stored = first.setdefault((weights, path, array) if weights else own, own)
            if stored != own:
                repeated[own] = stored, array
    return repeated


def _named_arrays(path: str, fields: Fields) -> Iterator[tuple[str, Values]]:
    """The arrays of both rounding rules, with the end of their C names."""
    for field, value in fields.items():
        if isinstance(value, Values):
            yield f"{path}_{field}", value
        elif isinstance(value, dict):
            yield from _named_arrays(f"{path}_{field}", value)


def _headline(graph: Graph, index: int, macs: int) -> str:
    node = graph.nodes[index]
    ins = [_shape(t) for t in graph.ins(node)[: ops.OPS[type(node.op)].n_activations]]
    kernel = ""
    if ops.is_conv(node.op):
        _, height, width, _ = graph.ins(node)[1].shape
        kernel = f" {height}x{width}"
    counted = f", {macs:,} MACs" if macs else ""
    op = f"{ops.title(node.op)}{kernel}"
    return f"{index} {comment(node.name)}: {op}, {' and '.join(ins)} -> {_shape(graph.out(node))}{counted}"


def _constant_inputs(graph: Graph) -> dict[str, str]:
    """C names of constants used in place of an activation, such as a constant summand."""
    names: dict[str, str] = {}
    for node in graph.nodes:
        for tensor in graph.ins(node)[: ops.OPS[type(node.op)].n_activations]:
            if tensor.data is not None:
                names.setdefault(tensor.name, f"constant_{len(names)}")
    return names


def _address(graph: Graph, arena: Plan, constants: dict[str, str], name: str) -> str:
    """C expression for the address of a tensor."""
    if name in constants:
        return f"{CONSTANTS}.{constants[name]}"
    if name not in graph.given:
        return f"arena + {arena.offsets[name]}"
    return f"input[{graph.given.index(name)}]" if has_several_ends(graph) else "input"


def _add_arrays(block: ConstantBlock, name: str, fields: Fields, elsewhere: Mapping[str, str]) -> None:
    """The arrays that a record refers to, those of nested records included; not those that are stored elsewhere."""
    for field, value in fields.items():
        if isinstance(value, Values):
            if f"{name}_{field}" in elsewhere:
                continue
            block.array(value.c_type, f"{name}_{field}", map(_value, value.values))
        elif isinstance(value, dict):
            _add_arrays(block, f"{name}_{field}", value, elsewhere)
        elif isinstance(value, ByRule) and any(isinstance(v, Values) for v in value.double.values()):
            single, double = ConstantBlock(), ConstantBlock()
            _add_arrays(single, name, value.single, elsewhere)
            _add_arrays(double, name, value.double, elsewhere)
            block.by_rule(single, double)


def _initialised(record: str, name: str, fields: Fields, indent: str, elsewhere: Mapping[str, str]) -> Iterator[str]:
    """Initialisers of a record's fields; an array is at ``TS_TO(array, record)`` bytes from the record.

    ``elsewhere``: the names of arrays that are stored under another one.
    """
    for field, value in fields.items():
        if isinstance(value, ByRule):
            single, double = (
                _initialised(record, name, each, indent, elsewhere) for each in (value.single, value.double)
            )
            yield from by_rule(single, double)
        elif isinstance(value, dict) and any(isinstance(v, dict | Values | ByRule) for v in value.values()):
            yield f"{indent}.{identifier(field)} = {{"
            yield from _initialised(f"{record}.{field}", f"{name}_{field}", value, indent + INDENT, elsewhere)
            yield f"{indent}}},"
        else:
            array = elsewhere.get(f"{name}_{field}", f"{name}_{field}")
            text = f"TS_TO({array}, {record})" if isinstance(value, Values) else _value(value)
            yield from _wrapped(f".{identifier(field)} = {text},", indent)


def _wrapped(line: str, indent: str) -> list[str]:
    """The line, broken between fields only."""
    whole = line.replace(", ", ",\0").replace(" = ", "\0=\0").replace(",\0.", ", .")
    lines = textwrap.wrap(
        whole, LINE_COLUMNS, initial_indent=indent, subsequent_indent=f"{indent}    ", break_on_hyphens=False
    )
    return [broken.replace("\0", " ") for broken in lines]


def _fields(fields: Fields) -> str:
    return ", ".join(f".{identifier(field)} = {_value(value)}" for field, value in fields.items())


def _value(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{_fields(value)}}}"
    if isinstance(value, Scale):
        return f"TS_RESCALE({integer(value.multiplier)}, {integer(value.shift)}, {float_literal(value.factor)})"
    if isinstance(value, Macro):
        return f"{identifier(value.name)}({', '.join(map(_value, value.arguments))})"
    return float_literal(value) if isinstance(value, float) else integer(cast(int, value))


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(integer, tensor.shape[1:]))})"
