"""Networks known by name: PyTorch to int8 graph, to TFLite and ONNX files and back, and on every engine.

A graph that is read back from a file gives the codes of the graph that was written. The float network is also quantised
by ONNX Runtime, and what is read from its file is compared with ONNX Runtime on that file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.differential.__main__ import Case, Row, on_firmware
from tests.export.formats.named_networks import NETWORKS
from tests.export.formats.onnx_networks import float_onnx, quantised_onnx
from tests.export.formats.test_onnx_read import differences
from tests.export.quantise.modules import with_statistics
from tests.export.quantise.test_aten import assert_engines_agree, case_of
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.onnx_read import from_onnx
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.formats.tflite_read import from_tflite
from tinyscene.export.quantise.quantised_model import int8_outputs
from tinyscene.export.quantise.steps import POST_TRAINING, Work, run_steps
from tinyscene.firmware_harness.build.targets import CORTEX_M4, CORTEX_M55, HOST, RISCV32, Target
from tinyscene.runtime.arith import ROUNDINGS
from tinyscene.runtime.engines import NumpyEngine
from tinyscene.runtime.graph import LOG_MEL, Graph
from tinyscene.runtime.tflite_write import to_tflite

CLIPS = 12
LARGEST_DIFFERENCE: dict[str, int] = {}


@dataclass(frozen=True)
class Quantised:
    model: torch.nn.Module
    graph: Graph
    case: Case


@pytest.fixture(scope="module")
def quantised() -> dict[str, Quantised]:
    networks = {}
    for name, (build, shape) in NETWORKS.items():
        torch.manual_seed(0)
        model = with_statistics(build(), shape)
        graph = run_steps(POST_TRAINING, Work(model, {LOG_MEL: torch.randn(CLIPS, 1, *shape)}, None, name)).graph
        assert graph is not None
        networks[name] = Quantised(model, graph, case_of(graph))
    return networks


@pytest.mark.needs_module("ai_edge_litert", "onnxruntime", "tflite_micro")
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_the_graph_approximates_the_network_and_runs_on_every_engine(
    name: str, quantised: dict[str, Quantised]
) -> None:
    network, clips = quantised[name], torch.randn(4, 1, *NETWORKS[name][1])
    expected, got = network.model(clips).numpy(), int8_outputs(network.graph, clips[:, 0].numpy())
    assert np.abs(got - expected).mean() < 0.06 * np.abs(expected).max()
    assert_engines_agree(network.case)


@pytest.mark.needs_module("onnxruntime")
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_read_from_our_files_gives_the_same_codes(name: str, quantised: dict[str, Quantised]) -> None:
    network = quantised[name]
    from_files = {
        "double": [from_tflite(to_tflite(network.graph))],
        "single": [from_tflite(to_tflite(network.graph)), from_onnx(to_onnx(network.graph))],  # whose tables are its
    }
    for rounding in ROUNDINGS:
        for read in from_files[rounding]:
            codes = NumpyEngine(read, rounding).output_codes(network.case.codes)
            assert np.array_equal(codes, network.case.expected[rounding][network.graph.output])


@pytest.mark.needs_tool("gcc", "objcopy")
def test_the_graphs_in_c(quantised: dict[str, Quantised], tmp_path: Path) -> None:
    assert_equal_in_c(quantised, replace(HOST, verify_flags=("-O1",)), tmp_path)


@pytest.mark.slow
@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm", "riscv64-unknown-elf-gcc", "qemu-system-riscv32")
@pytest.mark.parametrize("target", [CORTEX_M4, CORTEX_M55, RISCV32], ids=lambda target: target.name)
def test_the_graphs_on_emulated_processors(target: Target, quantised: dict[str, Quantised], tmp_path: Path) -> None:
    assert_equal_in_c(quantised, target, tmp_path)


def assert_equal_in_c(quantised: dict[str, Quantised], target: Target, folder: Path) -> None:
    rows: dict[str, Row] = {}
    on_firmware([network.case for network in quantised.values()], target, rows, folder)
    assert {name: row.findings for name, row in rows.items() if row.findings} == {}
    assert all(row.equal == len(quantised) for row in rows.values())


@pytest.mark.needs_module("onnxruntime")
@pytest.mark.parametrize("name", NETWORKS)
def test_files_of_onnx_runtimes_quantiser(name: str) -> None:
    build, shape = NETWORKS[name]
    data = quantised_onnx(float_onnx(build, (1, 1, *shape)))
    if name == "TF-SepNet":  # the quantiser leaves the statistics of its normalisation in float
        with pytest.raises(ExportError, match=r"\(Sub '.*its input '.*ReduceMean.*' is not quantised"):
            from_onnx(data)
        return
    off = np.abs(differences(from_onnx(data), data, "uint8", count=3))
    assert off.max() <= LARGEST_DIFFERENCE.get(name, 0)
