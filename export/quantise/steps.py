"""The steps from a float network to its integer graph, in the order in which they run.

:data:`POST_TRAINING` and :data:`QUANTISATION_AWARE` are the two methods; :func:`run_steps` runs one. A step takes the
:class:`Work` that the step before it returned. Refuses calibration without clips or with values that are not finite;
each step refuses what its own module documents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tinyscene.runtime.graph import Graph
from tinyscene.runtime.without_constants import WithoutConstants, without_constants

from ..errors import ExportError
from .equalise import equalise
from .fake_quant import QuantNet
from .fold import fold
from .layer_calibration import LayerCalibration, calibrate_layers, set_input_ranges
from .lower import lower

if TYPE_CHECKING:
    from .qat import QatTraining


@dataclass(frozen=True, eq=False)
class Work:
    """The inputs of the steps, and the results of those that have run.

    Attributes:
        model: the float network; no step changes it.
        clips: calibration clips or other inputs, float32 (n, ...), by the names that the graph gives its inputs.
        floor: the smallest value that an input can have (:attr:`tinyscene.runtime.spec.FrontendSpec.floor`), if known.
        name: the graph's name.
        labels: class names, in the order of the logits.
        training: what the step ``train`` trains with.
        net: the fake-quantised network; set by ``fold``, modified in place up to ``lower``.
        graph: the integer graph; set by ``lower``.
        pruned: the graph without constant layers and channels; set by ``remove constants``.

    Raises:
        ExportError: there are no clips, or a value is not finite.
    """

    model: nn.Module
    clips: Mapping[str, Tensor]
    floor: float | None = None
    name: str = "network"
    labels: tuple[str, ...] = ()
    training: QatTraining | None = None
    net: QuantNet | None = None
    graph: Graph | None = None
    pruned: WithoutConstants | None = None

    def __post_init__(self) -> None:
        if not all(map(len, self.clips.values())):
            raise ExportError("calibration", "no clips", next_step="give at least one labelled or unlabelled clip")
        if not all(torch.isfinite(each).all() for each in self.clips.values()):
            raise ExportError("calibration", "clips hold values that are not finite", next_step="check the audio")

    @property
    def folded(self) -> QuantNet:
        """The fake-quantised network."""
        assert self.net is not None, "the step 'fold' has not run"
        return self.net


@dataclass(frozen=True)
class Step:
    """One step; ``apply`` returns the work with this step's result."""

    name: str
    summary: str
    apply: Callable[[Work], Work]


def run_steps(steps: Sequence[Step], work: Work) -> Work:
    """Run ``steps`` one after the other; returns the work that the last one returned."""
    for step in steps:
        work = step.apply(work)
    return work


def _fold(work: Work) -> Work:
    net = QuantNet(fold(work.model, {name: tuple(each.shape[1:]) for name, each in work.clips.items()}))
    net.freeze()
    net.round(False)
    return replace(work, net=net)


def _equalise(work: Work) -> Work:
    equalise(work.folded, list(work.clips.values()))
    return work


def _set_input_ranges(work: Work) -> Work:
    set_input_ranges(work.folded, list(work.clips.values()), work.floor)
    return work


def _calibrate_layers(work: Work, options: LayerCalibration) -> Work:
    calibrate_layers(work.folded, list(work.clips.values()), options)
    return work


def _train(work: Work) -> Work:
    from .qat import train_fake_quantised

    assert work.training is not None, "the step 'train' needs Work.training"
    train_fake_quantised(work.folded, work.training)
    return work


def _lower(work: Work) -> Work:
    return replace(work, graph=lower(work.folded, name=work.name, labels=work.labels))


def _remove_constants(work: Work) -> Work:
    assert work.graph is not None, "the step 'lower' has not run"
    return replace(work, pruned=without_constants(work.graph))


def calibrate_with(options: LayerCalibration) -> Step:
    """The step that calibrates layer by layer, with other options than those of the two methods."""
    return Step("calibrate and round", f"Layer by layer: {options}.", partial(_calibrate_layers, options=options))


FOLD = Step("fold", "Merge each BatchNorm and each ReLU into the convolution before it.", _fold)
EQUALISE = Step("equalise", "Scale channels so that each of them uses all codes of the shared range.", _equalise)
INPUT_RANGE = Step(
    "input range", "Range of each input; 0, and the floor of a log-mel, get a code of their own.", _set_input_ranges
)
CALIBRATE_AND_ROUND = Step(
    "calibrate and round",
    "Layer by layer: weights to int8 with compensated errors, corrected bias, range of least error.",
    partial(_calibrate_layers, options=LayerCalibration()),
)
CALIBRATE = Step(
    "calibrate",
    "Layer by layer: range of least error; weights and BatchNorm stay as they are.",
    partial(_calibrate_layers, options=LayerCalibration(weights="free")),
)
TRAIN = Step("train", "Train weights and ranges with every rounding of the graph in the forward pass.", _train)
LOWER = Step("lower", "Ranges to scales and zero points, weights to codes, GRN to eleven int8 operators.", _lower)
REMOVE_CONSTANTS = Step(
    "remove constants",
    "Layers with one code for every input become constants, such channels part of the next layer's bias.",
    _remove_constants,
)

# "tinyscene export --ptq"
POST_TRAINING = (FOLD, EQUALISE, INPUT_RANGE, CALIBRATE_AND_ROUND, LOWER, REMOVE_CONSTANTS)
# "tinyscene export --qat", and the last stage of a recipe
QUANTISATION_AWARE = (FOLD, EQUALISE, INPUT_RANGE, CALIBRATE, TRAIN, LOWER, REMOVE_CONSTANTS)
