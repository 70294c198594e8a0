"""Counts by each rule: by hand on small layers, and compared with published counts of networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graphs import Builder, small_net
from tinyscene.runtime import ops
from tinyscene.runtime.cost import (
    RULES,
    Layer,
    count,
    graph_cost,
    graph_layers,
    layer_of,
    parse_count,
    parse_size,
    require_rule,
    verdicts,
)
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.spec import Budget

RULE_NAMES = tuple(RULES)


def _chain():
    """Input 6x5x3, conv 3x3 to 4 (unpadded, 4x3x4), its sum with itself, mean to 4."""
    b = Builder(np.random.default_rng(0), "chain", (6, 5, 3))
    x = b.conv(b.input, (3, 3), channels=4)
    return b.graph(b.mean(b.add(x, x), keep_dims=False))


@pytest.mark.parametrize(
    ("rule", "parameters", "macs", "n_bytes"),
    [
        # 4*3*3*3 weights and 4 biases at 12 positions
        ("dcase", 112, 112 * 12, 108 + 16),
        ("torchinfo", 112, 112 * 12, 448),
        # weights alone, the 48 sums, the 48 elements that are averaged
        ("nessi", 112, 108 * 12 + 48 + 48, 108 + 16),
        # weights alone; and 4 weight scales, and scale and zero point of three outputs
        ("stored", 112, 108 * 12, 108 + 16 + 4 * 4 + 3 * 5),
    ],
)
def test_a_chain_counted_by_hand(rule, parameters, macs, n_bytes):
    cost = graph_cost(_chain(), rule)
    assert (cost.parameters, cost.macs, cost.n_bytes, cost.rule) == (parameters, macs, n_bytes, rule)
    assert [row.op for row in cost.layers] == ["Conv2D", "Add", "Mean"]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Layer("n", "BatchNorm2d", "norm", (1, 8, 4, 4), 16, 8, 8, 64, 72, 128, 128), (16, 16, 0, 128)),
        (Layer("l", "Linear", "linear", (1, 5), 1, 50, 5, 220, 0, 10, 5), (55, 55, 50, 50)),
        (Layer("p", "AvgPool", "pool", (1, 8, 4, 4), 16, 0, 0, 0, 0, 512, 128, window=9), (0, 0, 1152, 0)),
        (Layer("m", "Mul", "mul", (1, 8, 4, 4), 16, 0, 0, 0, 0, 128, 128), (0, 0, 0, 128)),
    ],
    ids=lambda v: v.kind if isinstance(v, Layer) else "",
)
def test_kinds_counted_by_hand(layer, expected):
    """Parameters, then MACs by dcase, nessi and stored."""
    costs = {rule: count([layer], rule, source="test") for rule in RULE_NAMES}
    assert (
        costs["dcase"].parameters,
        costs["dcase"].macs,
        costs["nessi"].macs,
        costs["stored"].macs,
    ) == expected
    assert costs["torchinfo"].macs == costs["dcase"].macs
    assert costs["torchinfo"].n_bytes == 4 * costs["dcase"].parameters


def test_a_pool_as_convolution_is_a_pool():
    """1/9 in every tap of every channel: no parameter and no MAC by dcase, but stored bytes."""
    ninth, zero = np.full((1, 3, 3, 6), 127, np.int8), np.zeros(6, np.int32)
    scale = np.full(6, 1 / 9 / 127, np.float32)
    pool = layer_of(
        "p", "DepthwiseConv2D", "conv", (1, 4, 4, 6), weight=ninth, bias=zero, scale=scale, depthwise=True, window=9
    )
    assert pool.kind == "scalar"
    cost = count([pool], "dcase", source="")
    assert (cost.parameters, cost.macs, cost.n_bytes) == (0, 0, 54 + 24)
    assert count([pool], "nessi", source="").macs == count([pool], "stored", source="").macs == 54 * 16


@pytest.mark.parametrize("change", ["tap", "bias", "scale", "one channel"])
def test_a_convolution_is_not_counted_as_a_pool(change):
    weight, bias = np.full((1, 3, 3, 6), 127, np.int8), np.zeros(6, np.int32)
    scale = np.full(6, 0.01, np.float32)
    if change == "one channel":
        weight, bias, scale = weight[..., :1], bias[:1], scale[:1]
    else:
        {"tap": weight, "bias": bias, "scale": scale}[change].flat[3] += np.int8(-1)
    shape = (1, 4, 4, weight.shape[3])
    layer = layer_of("c", "D", "conv", shape, weight=weight, bias=bias, scale=scale, depthwise=True, window=9)
    assert layer.kind == "conv"
    assert count([layer], "dcase", source="").macs == (weight.size + bias.size) * 16


@given(seed=st.integers(0, 1000), grn=st.booleans())
def test_rules_are_consistent(seed, grn):
    graph = small_net(np.random.default_rng(seed), grn=grn, shape=(12, 10, 1))
    cost = {rule: graph_cost(graph, rule) for rule in RULE_NAMES}
    convs = [n for n in graph.nodes if isinstance(n.op, ops.Conv2D | ops.DepthwiseConv2D)]
    positions = [int(np.prod(graph.out(n).shape[1:3])) for n in convs]
    weights = [graph.ins(n)[1].data.size for n in convs]
    biases = [graph.ins(n)[2].data.size for n in convs]
    assert cost["dcase"].macs == sum((w + b) * p for w, b, p in zip(weights, biases, positions, strict=True))
    assert cost["dcase"].n_bytes == sum(weights) + 4 * sum(biases) == cost["nessi"].n_bytes
    assert cost["stored"].n_bytes > cost["dcase"].n_bytes
    for rule in RULE_NAMES:
        assert len(cost[rule].layers) == len(graph.nodes)
        assert cost[rule].macs == sum(row.macs for row in cost[rule].layers)


def test_stored_bytes_add_up_to_the_file_size():
    layers = graph_layers(_chain())
    stored = count(layers, "stored", source="file", file_bytes=5000)
    assert stored.n_bytes == 5000
    assert stored.frame_bytes == 5000 - graph_cost(_chain(), "stored").n_bytes
    assert count(layers, "dcase", source="file", file_bytes=5000).n_bytes == 124


def test_limits_are_inclusive():
    cost = graph_cost(_chain(), "dcase")
    at = Budget(max_bytes=cost.n_bytes, max_macs=cost.macs)
    assert [v.passed for v in verdicts(cost, at)] == [True, True]
    assert [v.passed for v in verdicts(cost, replace(at, max_bytes=cost.n_bytes - 1))] == [False, True]
    assert [v.passed for v in verdicts(cost, replace(at, max_macs=cost.macs - 1))] == [True, False]
    assert [(v.limit_name, v.unit, v.rule) for v in verdicts(cost, at)] == [
        ("size", "B", "dcase"),
        ("macs", "MAC", "dcase"),
    ]


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("128kB", 128_000),
        ("128 kB", 128_000),
        ("128KB", 128_000),
        ("128kiB", 131_072),
        ("128KiB", 131_072),
        ("128000", 128_000),
        ("128000B", 128_000),
        ("0.5MB", 500_000),
        ("1MiB", 1_048_576),
        ("1.5e3", 1500),
    ],
)
def test_sizes(text, n_bytes):
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        ("30M", 30_000_000),
        ("30MMAC", 30_000_000),
        ("30 MMACs", 30_000_000),
        ("29.4e6", 29_400_000),
        ("30000000", 30_000_000),
        ("1.2G", 1_200_000_000),
        ("500k", 500_000),
    ],
)
def test_counts(text, macs):
    assert parse_count(text) == macs


@pytest.mark.parametrize("text", ["", "kB", "-1kB", "128 apples", "nan", "inf", "1e400", "0", "0.2", "12 34", "1,000"])
@pytest.mark.parametrize("parse", [parse_size, parse_count])
def test_an_invalid_limit_is_refused(parse, text):
    with pytest.raises(RuntimeFailure, match="invalid value; expected a"):
        parse(text)


def test_an_unknown_rule_is_refused_with_the_list_of_rules():
    assert [require_rule(name) for name in RULE_NAMES] == list(RULE_NAMES)
    with pytest.raises(RuntimeFailure, match=r"unknown counting rule; expected dcase \| torchinfo \| nessi \| stored"):
        require_rule("mlperf")
