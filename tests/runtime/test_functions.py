"""Tables of functions of one code: every code on every engine, with random scales and with scales next to ties."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest

from tests.graphs import Rng
from tinyscene.export.verify.op_comparison import compare
from tinyscene.runtime import ops
from tinyscene.runtime.engine_limits import LIMITS
from tinyscene.runtime.engines import LiteRTEngine, TFLMEngine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import PROBABILITY, Graph, Node, Quant, Tensor
from tinyscene.runtime.lookup_tables import function_table
from tinyscene.runtime.op_ranges import TANH_SCALE
from tinyscene.runtime.tflite_write import to_tflite

FUNCTIONS = get_args(ops.Function)
EXACT = {  # of one real value
    "relu": lambda x: max(x, 0),
    "relu6": lambda x: min(max(x, 0), 6),
    "relu_0_to_1": lambda x: min(max(x, 0), 1),
    "relu_n1_to_1": lambda x: min(max(x, -1), 1),
    "hard_swish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "logistic": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: 0.5 * x * math.erfc(-x * math.sqrt(0.5)),
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "exp": math.exp,
    "log": lambda x: math.log(x) if x > 0 else -math.inf,
    "sqrt": math.sqrt,
    "abs": abs,
    "neg": lambda x: -x,
    "requantise": lambda x: x,
}
CODES = np.arange(-128, 128).astype(np.int8).reshape(1, 1, 1, 256)


def value(op: ops.Lookup, x: float) -> float:
    if op.function == "leaky_relu":
        return x if x > 0 else op.alpha * x
    return float(EXACT[op.function](x))


def table_graph(op: ops.Lookup, x: Quant, out: Quant) -> Graph:
    tensors = [Tensor("x", (1, 1, 1, 256), "int8", x), Tensor("y", (1, 1, 1, 256), "int8", out)]
    return Graph(op.function, {t.name: t for t in tensors}, (Node("n", op, ("x",), "y"),), ("x",), ("y",)).check()


def drawn(rng: Rng, function: Any, *, tie: bool) -> Graph:
    """A graph of one function; ``tie``: the output's scale puts one code within a float32 step of a tie."""
    op = ops.Lookup(function, float(np.float32(rng.uniform(-1, 2))) if function == "leaky_relu" else 0.0)
    zero_points = [int(rng.choice([-128, 127, 0, rng.integers(-128, 128)])) for _ in range(2)]
    x = Quant.per_tensor(0.03 * 2 ** rng.uniform(-2, 2), -128 if function in ("log", "sqrt") else zero_points[0])
    scale = np.float32(0.03 * 2 ** rng.uniform(-2, 2))
    if tie:
        reached = abs(value(op, max(1, int(rng.integers(-128, 128)) - x.zero_point) * x.scale[0]))
        scale = np.float32(max(reached, 1e-3) / (int(rng.integers(5, 60)) + (0.0 if function == "sqrt" else 0.5)))
        scale = np.float32(scale + int(rng.integers(-1, 2)) * np.spacing(scale))
    out = Quant.per_tensor(float(scale), zero_points[1])
    fixed = {"logistic": PROBABILITY, "tanh": Quant.per_tensor(TANH_SCALE, 0), "relu6": x}
    if function == "neg":
        x = Quant(x.scale, max(x.zero_point, -127))
        out = Quant(x.scale, -x.zero_point)
    return table_graph(op, x, fixed.get(function, out))


@pytest.mark.needs_module("ai_edge_litert", "tflite_micro")
@pytest.mark.parametrize("tie", [False, True], ids=["random", "tie"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_code_on_every_engine(function: str, tie: bool) -> None:
    """Equal, or within the engine's exception for the function; where nothing is next to a tie nearly always equal."""
    excepted = runs = 0
    for seed in range(14):
        try:
            graph = drawn(np.random.default_rng(seed), function, tie=tie)
        except RuntimeFailure:  # beyond the bounds of the ratio of the scales
            continue
        data = to_tflite(graph)
        for name, engine_of in (
            ("litert", lambda g, d: LiteRTEngine(g, d)),
            ("litert-reference", lambda g, d: LiteRTEngine(g, d, "reference")),
            ("tflm", TFLMEngine),
        ):
            try:
                engine = engine_of(graph, data)
            except RuntimeFailure as limit:
                if "has no int8 kernel in this engine" not in str(limit):
                    raise
                continue
            compared = compare(name, engine.rounding, graph, CODES, engine.outputs(CODES))
            assert compared.first_difference is None, (seed, str(compared.first_difference))
            runs, excepted = runs + 1, excepted + bool(compared.exceptions)
    assert runs >= 6
    assert tie or excepted <= 1


@pytest.mark.parametrize("function", FUNCTIONS)
def test_tables_are_the_functions(function: str) -> None:
    """Within one code of the exact value, a requantisation of 8 bits within two; a negative of -128 wraps around."""
    for seed in range(10):
        try:
            graph = drawn(np.random.default_rng(seed), function, tie=False)
        except RuntimeFailure:
            continue
        op, x, out = graph.nodes[0].op, graph.tensors["x"].quant, graph.tensors["y"].quant
        assert isinstance(op, ops.Lookup)
        real = [value(op, (code - x.zero_point) * x.scale[0]) for code in range(-128, 128)]
        exact = np.clip(np.array(real) / out.scale[0] + out.zero_point, -128, 127)
        for rounding in ("double", "single"):
            off = np.abs(function_table(op, x, out, rounding) - exact)[function == "neg" :]
            most = 2.0 if function in ("requantise", "leaky_relu", "hard_swish") else 1.01
            assert off.max() <= most, (seed, rounding)


@pytest.mark.needs_module("ai_edge_litert", "tflite_micro")
def test_engines_lack_what_their_limits_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the limit the engine itself fails."""
    of_micro = ("exp", "gelu", "log", "neg", "relu_0_to_1", "relu_n1_to_1", "sqrt")
    lacking = {"tflm": of_micro, "litert-reference": ("elu",)}
    for engine, functions in lacking.items():
        named = {kind for kind, limit in LIMITS[engine].items() if "int8 kernel" in limit.fault}
        assert {function.upper() for function in functions} == named
    monkeypatch.setattr("tinyscene.runtime.engine_limits.LIMITS", {})
    for engine, functions in lacking.items():
        for function in functions:
            graph = drawn(np.random.default_rng(3), function, tie=False)
            with pytest.raises(RuntimeFailure, match=f"engine {engine}: cannot (load|run) the model file"):
                _opened(engine, graph).output_codes(CODES)


def _opened(engine: str, graph: Graph) -> Any:
    data = to_tflite(graph)
    return TFLMEngine(graph, data) if engine == "tflm" else LiteRTEngine(graph, data, "reference")
