"""A small network with every part of a report, and its page parsed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tests.graphs import random_input, small_net
from tests.pages import Page
from tinyscene.export.quantise.quality import layer_quality
from tinyscene.export.report.document import Measured, document, row_of_metrics
from tinyscene.export.report.firmware_cost import CallCost, FirmwareCost, Profile, Way
from tinyscene.export.report.page import render
from tinyscene.export.targets.ethos_u import Estimate, Estimates
from tinyscene.export.verify.op_comparison import compare
from tinyscene.export.verify.results import TargetResult
from tinyscene.export.verify.verify import verify
from tinyscene.firmware_harness.cycles.estimate import Interval
from tinyscene.firmware_harness.run.engine import Figures
from tinyscene.firmware_harness.run.modelled import BoardCost
from tinyscene.runtime.arith import dequantise
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.spec import Budget, preset
from tinyscene.training.data.split_files import Record
from tinyscene.training.evaluation.metrics import evaluate

LABELS = ("airport", "bus", "metro", "metro_station", "park", '<plaza> & "mall"', "shop", "street", "traffic", "tram")


def metrics(seed: int, skill: float):
    rng = np.random.default_rng(seed)
    devices = ("a", "b", "s1")
    records = [Record(f"{i}.wav", LABELS[i % 10], "lyon", "7", "0", str(i), devices[i % 3]) for i in range(240)]
    logits = rng.normal(size=(240, 10)).astype(np.float32)
    logits[np.arange(240), np.arange(240) % 10] += skill
    return evaluate(logits, records, LABELS)


MODELLED = BoardCost(
    "nucleo-l4r5zi",
    Interval(9_876_543.0, 8_000_000.0, 11_000_000.0),
    Interval(82.3, 66.7, 91.7),
    Interval(3_378.0, 2_441.0, 4_168.0),
)


def firmware(steps: int) -> FirmwareCost:
    """Two ways on one machine, and a profile whose first call runs two steps; another machine is left out."""
    figures = Figures(
        2048, flash_bytes=34_567, code_bytes=5000, static_ram_bytes=16, stack_bytes=204, instructions=7_000
    )
    leaner = replace(figures, arena_bytes=512, instructions=9_000)
    others = (CallCost("ts_add", n, n, n, 2.0 * n) for n in range(3, steps + 1))
    calls = (CallCost("ts_block", 1, 2, 4_000, 6_000.0), *others)
    return FirmwareCost(
        (Way("cortex-m4", "double", "speed", figures, MODELLED), Way("cortex-m4", "double", "ram", leaner)),
        (Profile("cortex-m4", "double", "speed", calls, MODELLED.board),),
        {"cortex-m55": "building for cortex-m55: arm-none-eabi-gcc is not installed <here> & now"},
    )


ESTIMATES = Estimates(
    (
        Estimate("ethos-u55-128", 12, 0, (), 909_946, 1.82, 234_512, 154_560, 27_472_584),
        Estimate("ethos-u65-256", 11, 1, ("ADD 'sum<1>': unsupported",), 614_684, 0.61, 234_512, 172_048, 27_472_584),
    ),
    {"ethos-u85-256": "Vela: is not installed; next: pip install 'ethos-u-vela>=5'"},
)


@dataclass(frozen=True)
class Made:
    data: Measured
    inputs: np.ndarray


def make(grn: bool) -> Made:
    """A small net with every part of a report: four models, firmware, NPUs, one of each left out."""
    rng = np.random.default_rng(7)
    graph = small_net(rng, grn=grn)
    inputs = random_input(rng, graph, batch=2)
    trace: dict = {}
    run(graph, inputs, trace=trace)
    reference = {
        t.name: dequantise(trace[t.name], t.quant) + rng.normal(scale=t.quant.scale[0], size=trace[t.name].shape)
        for t in list(graph.activations())[1:-1]
    }
    accuracy = tuple(
        row_of_metrics(name, metrics(seed, skill))
        for seed, (name, skill) in enumerate([("float", 2.0), ("int8", 1.9), ("no teacher", 1.0), ("teacher <T>", 3.0)])
    )
    return Made(
        Measured(
            title="small <net> & friends",
            graph=graph,
            labels=LABELS,
            frontend=preset("cpm23"),
            budget=Budget(),
            estimates=ESTIMATES,
            firmware=firmware(len(graph.nodes)),
            verification=verify(graph, inputs, targets=("numpy-double", "numpy-single")),
            quality=layer_quality(graph, inputs, reference),
            quality_data="measured on two clips",
            accuracy=accuracy,
            provenance={"command": "tinyscene demo --seed 1 > log", "data": "synthetic & small"},
        ),
        inputs,
    )


def page(data: Measured) -> Page:
    return Page(render(document(data)).decode())


def with_results(data: Measured, *results: TargetResult) -> Measured:
    return replace(data, verification=replace(data.verification, results=(*data.verification.results, *results)))


def wrong_target(made: Made) -> TargetResult:
    """A target whose third activation has one wrong byte, from the real comparison."""
    graph = made.data.graph
    shown: dict = {}
    run(graph, made.inputs, trace=shown)
    shown[graph.nodes[2].output] = shown[graph.nodes[2].output].copy()
    shown[graph.nodes[2].output].flat[5] ^= 1
    comparison = compare("c-cortex-m4", "double", graph, made.inputs, shown)
    measured = Figures(
        2048, flash_bytes=34_567, code_bytes=5000, static_ram_bytes=16, stack_bytes=204, instructions=7_654_321
    )
    return TargetResult("c-cortex-m4", "double", "different", comparison=comparison, cost=measured, modelled=MODELLED)


SKIPPED = TargetResult("tflm", None, "skipped", note="engine tflm: not installed (<needs> x86-64 & Linux)")
