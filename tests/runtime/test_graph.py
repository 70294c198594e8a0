"""Graph.check: every kind of fault is refused by name, and valid graphs pass."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graphs import OP_KINDS, one_op, random_input, small_net
from tinyscene.runtime import ops
from tinyscene.runtime.accumulators import accumulator_bounds
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import PROBABILITY, Quant, Tensor
from tinyscene.runtime.lookup_tables import function_table


@pytest.fixture
def graph():
    return small_net(np.random.default_rng(1), grn=True)


def _with_tensor(graph, which, /, **changes):
    return replace(graph, tensors={**graph.tensors, which: replace(graph.tensors[which], **changes)})


def _with_node(graph, at, **changes):
    nodes = list(graph.nodes)
    nodes[at] = replace(nodes[at], **changes)
    return replace(graph, nodes=tuple(nodes))


def _quant(graph, name, **changes):
    return {"quant": replace(graph.tensors[name].quant, **changes)}


def _first(graph, kind):
    return next(i for i, node in enumerate(graph.nodes) if isinstance(node.op, kind))


FIRST_OUT, FIRST_WEIGHT, FIRST_BIAS = "conv2d_0_out", "weight_0", "bias_0"

FAULTS = {
    "two writers": (lambda g: _with_node(g, 1, output=g.nodes[0].output), "another writer"),
    "writes the input": (lambda g: _with_node(g, 0, output=g.input), "another writer"),
    "writes a constant": (lambda g: _with_node(g, 0, output=FIRST_WEIGHT), "another writer"),
    "reads too early": (lambda g: replace(g, nodes=(g.nodes[1], g.nodes[0], *g.nodes[2:])), "before it is written"),
    "reads nothing": (lambda g: _with_node(g, 0, inputs=("gone", FIRST_WEIGHT, FIRST_BIAS)), "does not exist"),
    "output never written": (lambda g: replace(g, nodes=g.nodes[:-1]), "not written by any node"),
    "wrong output shape": (lambda g: _with_tensor(g, FIRST_OUT, shape=(1, 10, 7, 6)), "output shape"),
    "batch of two": (lambda g: _with_tensor(g, g.input, shape=(2, 20, 14, 1)), "activation shape"),
    "no columns": (lambda g: _with_tensor(g, g.input, shape=(1, 20, 0, 1)), "activation shape"),
    "stored under another name": (lambda g: _with_tensor(g, FIRST_OUT, name="else"), "another name"),
    "negative scale": (lambda g: _with_tensor(g, FIRST_OUT, **_quant(g, FIRST_OUT, scale=(-0.5,))), "positive float32"),
    "scale not float32": (lambda g: _with_tensor(g, FIRST_OUT, **_quant(g, FIRST_OUT, scale=(0.1,))), "float32"),
    "infinite scale": (lambda g: _with_tensor(g, FIRST_OUT, **_quant(g, FIRST_OUT, scale=(float("inf"),))), "float32"),
    "two scales": (lambda g: _with_tensor(g, FIRST_OUT, **_quant(g, FIRST_OUT, scale=(0.5, 0.5))), "number of scales"),
    "zero point of a byte": (lambda g: _with_tensor(g, FIRST_OUT, **_quant(g, FIRST_OUT, zero_point=128)), "int8"),
    "wide activation": (lambda g: _with_tensor(g, FIRST_OUT, dtype="int32"), "per-tensor int8"),
    "constant of another shape": (
        lambda g: _with_tensor(g, FIRST_BIAS, data=np.zeros(4, np.int32)),
        "does not match its record",
    ),
    "constant of another type": (
        lambda g: _with_tensor(g, FIRST_BIAS, data=np.zeros(5, np.int64)),
        "does not match its record",
    ),
    "weight with a zero point": (
        lambda g: _with_tensor(g, FIRST_WEIGHT, **_quant(g, FIRST_WEIGHT, zero_point=1)),
        "not symmetric",
    ),
    "bias with another scale": (
        lambda g: _with_tensor(g, FIRST_BIAS, quant=Quant.per_channel([0.5] * 5, 0)),
        "bias scale",
    ),
    "activation as weight": (
        lambda g: _with_node(g, 1, inputs=(FIRST_OUT, "weight_1", FIRST_OUT)),
        "inputs do not fit the op",
    ),
    "one input too few": (lambda g: _with_node(g, 0, inputs=(g.input, FIRST_WEIGHT)), "do not fit the op"),
    "op outside the table": (lambda g: _with_node(g, 0, op="softmax"), "not in the op table"),
    "labels not one per score": (lambda g: replace(g, labels=("a", "b")), "not one per output"),
    "sum of unlike shapes": (
        lambda g: _with_node(g, _first(g, ops.Add), inputs=(g.nodes[_first(g, ops.Add)].inputs[0], FIRST_OUT)),
        "second operand",
    ),
    "product of unlike shapes": (
        lambda g: _with_node(g, _first(g, ops.Mul), inputs=(g.nodes[_first(g, ops.Mul)].inputs[0], FIRST_OUT)),
        "second operand",
    ),
    "root of what may be negative": (
        lambda g: _with_tensor(
            g,
            g.nodes[_first(g, ops.Rsqrt)].inputs[0],
            **_quant(g, g.nodes[_first(g, ops.Rsqrt)].inputs[0], zero_point=-100),
        ),
        "may be negative",
    ),
    "axis of the scales beyond the shape": (
        lambda g: _with_tensor(g, FIRST_WEIGHT, **_quant(g, FIRST_WEIGHT, axis=4)),
        "axis of the scales; expected 0 to 3; got 4",
    ),
    "scale of 2^-41": (lambda g: _with_tensor(g, FIRST_OUT, **_quant(g, FIRST_OUT, scale=(2.0**-41,))), "scale out of"),
    "input that is a constant": (lambda g: replace(g, inputs=(FIRST_WEIGHT,)), "input is not an activation"),
    "input that is missing": (lambda g: replace(g, inputs=("gone",)), "input is not an activation"),
    "nodes of one name": (lambda g: _with_node(g, 1, name=g.nodes[0].name), "name of several nodes"),
    "label with a NUL": (lambda g: replace(g, labels=("a\0",) * 10), r"labels\[0\]: invalid text"),
    "activation of 5 million elements": (lambda g: _with_tensor(g, g.input, shape=(1, 2500, 2000, 1)), "too large"),
    "code as the kind of a pool": (
        lambda g: _with_node(g, 0, op=ops.Pool2D("max_pool(0); main", (1, 1)), inputs=(g.input,)),
        "op.kind: unknown value; expected 'max' or 'average'",
    ),
    "stride 0": (lambda g: _with_node(g, 0, op=ops.Conv2D((0, 1))), r"op.stride\[0\]: out of range"),
    "negative pad": (lambda g: _with_node(g, 0, op=ops.Conv2D(pads=(-1, 0, 0, 0))), r"op.pads\[0\]: out of range"),
    "mean of another rank": (
        lambda g: _with_node(g, _first(g, ops.Reduce), op=ops.Reduce("mean", ops.SPACE, keep_dims=False)),
        "output shape",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_by_name(graph, fault):
    break_it, complaint = FAULTS[fault]
    broken = break_it(graph)
    with pytest.raises(RuntimeFailure, match=complaint) as refusal:
        broken.check()
    assert f"graph '{graph.name}'" in str(refusal.value)


@pytest.mark.parametrize("kind", OP_KINDS)
def test_valid_graphs_pass(kind):
    for seed in range(5):
        graph = one_op(np.random.default_rng(seed), kind)
        assert graph.check() is graph


def test_every_op_of_the_union_is_in_the_table():
    assert set(get_args(ops.Op)) == set(ops.OPS)
    assert len({row.name for row in ops.OPS.values()}) == len(ops.OPS)


@pytest.mark.parametrize("rounding", ["double", "single"])
def test_logistic_tables_of_every_accepted_scale_are_exact_to_one_code(rounding):
    codes = np.arange(-128, 128)
    for exponent in np.linspace(-20, 2, 45):
        scale = float(np.float32(2.0 ** min(exponent, 1.9999)))
        for zero_point in (-128, 0, 77, 127):
            quant = Quant.per_tensor(scale, zero_point)
            with np.errstate(over="ignore"):
                exact = 256 / (1 + np.exp(-(codes - zero_point) * np.float64(quant.scale[0]))) - 128
            table = function_table(ops.Lookup("logistic"), quant, PROBABILITY, rounding)
            assert np.abs(table - np.clip(np.rint(exact), -128, 127)).max() <= 1


@given(zero_point=st.integers(-128, 127), sign=st.sampled_from([1, -1]), seed=st.integers(0, 99))
def test_the_accumulator_bound_is_reached_and_not_exceeded(zero_point, sign, seed):
    """Weights of one sign reach the bound with the code farthest from the zero point; mixed signs stay below."""
    rng = np.random.default_rng(seed)
    far = 127 if 127 - zero_point >= 128 + zero_point else -128
    weight = rng.integers(1, 128, (3, 2, 2, 5)) * sign
    bias = rng.integers(0, 1000, 3) * sign * (1 if far == 127 else -1)
    mixed = weight * rng.choice([1, -1], weight.shape)
    quant = Quant.per_tensor(0.1, zero_point)
    x = Tensor("x", (1, 2, 2, 5), "int8", quant)
    for values, reaches in ((weight, True), (mixed, False)):
        w = Tensor("w", values.shape, "int8", Quant.per_channel([0.1] * 3, 0), values.astype(np.int8))
        b = Tensor("b", (3,), "int32", Quant.per_channel([0.01] * 3, 0), bias.astype(np.int32))
        bound = int(accumulator_bounds(x, w, b, 0).max())
        codes = np.full(values.shape[1:], far) if reaches else rng.integers(-128, 128, values.shape[1:])
        acc = np.abs(((codes - zero_point) * values).sum(axis=(1, 2, 3)) + bias).max()
        assert acc == bound if reaches else acc <= bound


def test_quant_keeps_float32_exactly():
    scale = np.random.default_rng(0).uniform(1e-6, 1, 50).astype(np.float32)
    assert np.array_equal(np.array(Quant.per_channel(scale, 0).scale, np.float32), scale)
    assert Quant.per_tensor(0.1, 3).scale == (float(np.float32(0.1)),)


def test_order_of_activations_and_constants(graph):
    names = [t.name for t in graph.activations()]
    assert names == [graph.input, *(n.output for n in graph.nodes)]
    constants = [t.name for t in graph.constants()]
    assert len(constants) == len(set(constants)) == sum(t.data is not None for t in graph.tensors.values())
    assert constants[:2] == [FIRST_WEIGHT, FIRST_BIAS]
    assert random_input(np.random.default_rng(0), graph).shape == (1, 20, 14, 1)
