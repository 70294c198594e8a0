"""The formula for bytes and MACs equals what is counted on the integer graph of the network that was built."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tinyscene.export.quantise.steps import POST_TRAINING, Work, run_steps
from tinyscene.runtime.cost import graph_cost
from tinyscene.runtime.graph import LOG_MEL
from tinyscene.runtime.spec import PRESETS
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import MODELS, ModelConfig
from tinyscene.training.models.layers import GRN
from tinyscene.training.models.sizes import int8_cost
from tinyscene.training.planning.width_search import BASES, EXPANSIONS, MULTIPLIERS, stride_placements


def drawn(seed: int) -> tuple[ModelConfig, str]:
    """A network of the grid, not too wide to be built quickly, and its front end."""
    rng, ways = np.random.default_rng(seed), stride_placements()
    config = ModelConfig(
        arch="cp_mobile",
        n_classes=int(rng.integers(2, 30)),
        base_channels=int(rng.choice(BASES[:6])),
        channels_multiplier=float(rng.choice(MULTIPLIERS)),
        expansion_rate=float(rng.choice(EXPANSIONS)),
        grn=bool(rng.integers(2)),
        strides=dict(ways[rng.integers(len(ways))]),
        padding=str(rng.choice(["same", "torch"])),
    )
    return config, str(rng.choice(["cpm23", "dcase25", "cpresnet"]))


def test_other_networks_are_refused() -> None:
    with pytest.raises(TrainingError, match="CP-Mobile"):
        int8_cost(MODELS["cpresnet-33k"], PRESETS["cpresnet"])


@pytest.mark.parametrize("case", ["cpm23-16", "dcase25", *range(3)])
def test_the_formula_is_the_count_of_the_graph(case: str | int) -> None:
    if isinstance(case, str):
        config, name = MODELS[case], "cpm23" if MODELS[case].grn else "dcase25"
    else:
        config, name = drawn(case)
    frontend = PRESETS[name]
    torch.manual_seed(0)
    model = build_model(config)
    for grn in (m for m in model.modules() if isinstance(m, GRN)):  # as trained
        torch.nn.init.constant_(grn.gamma, 0.7)
        torch.nn.init.constant_(grn.beta, 0.3)
    work = Work(model, {LOG_MEL: torch.randn(1, 1, frontend.n_mels, frontend.n_frames)})
    graph = run_steps(POST_TRAINING, work).graph
    assert graph is not None
    cost = graph_cost(graph, "dcase")
    assert int8_cost(config, frontend) == (cost.n_bytes, cost.macs)
