"""Students from papers: quantised from random clips, the graph gives the same codes on every engine and in C."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.differential.__main__ import Row, on_firmware
from tests.export.quantise.modules import with_statistics
from tests.export.quantise.test_aten import assert_engines_agree, case_of
from tinyscene.export.quantise.steps import POST_TRAINING, Work, run_steps
from tinyscene.firmware_harness.build.targets import HOST
from tinyscene.runtime.cost import graph_cost, verdicts
from tinyscene.runtime.graph import LOG_MEL
from tinyscene.runtime.spec import DCASE_BUDGET
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import MODELS

SHAPE = (64, 32)
STUDENTS = ["ds-cnn-64", "mobilenetv3-small-8", "tc-resnet8", "bc-resnet-14", "bc-resnet-asc-38", "tf-sepnet-60"]


@pytest.mark.slow
@pytest.mark.needs_module("ai_edge_litert", "onnxruntime", "tflite_micro")
@pytest.mark.needs_tool("gcc", "objcopy")
@pytest.mark.parametrize("name", STUDENTS)
def test_students_run_on_every_engine(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = MODELS[name].model_copy(update={"padding": "same", "n_mels": SHAPE[0]})
    model = with_statistics(build_model(config), SHAPE)
    clips = torch.randn(8, 1, *SHAPE)
    graph = run_steps(POST_TRAINING, Work(model, {LOG_MEL: clips}, None, name, tuple("abcdefghij"))).graph
    assert graph is not None
    case, rows = case_of(graph), {}
    assert_engines_agree(case)
    on_firmware([case], replace(HOST, verify_flags=("-O1",)), rows, tmp_path)
    assert all(isinstance(row, Row) and row.equal == 1 for row in rows.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bc-resnet-14", "bc-resnet-asc-38", "tf-sepnet-60"])
def test_students_are_within_the_challenge_limits(name: str) -> None:
    """On the log-mel of the recipes, 256 bins and 64 frames."""
    torch.manual_seed(0)
    graph = run_steps(POST_TRAINING, Work(build_model(MODELS[name]), {LOG_MEL: torch.randn(2, 1, 256, 64)})).graph
    assert graph is not None
    assert [verdict.passed for verdict in verdicts(graph_cost(graph, "dcase"), DCASE_BUDGET)] == [True, True]


def test_bins_that_the_bands_do_not_divide_are_refused() -> None:
    with pytest.raises(TrainingError, match="frequency bins"):
        build_model(MODELS["bc-resnet-14"])(torch.zeros(1, 1, 40, 32))
