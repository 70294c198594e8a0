"""A network made elsewhere with its weights, front end and labels, as a checkpoint holds it.

The network takes a log-mel as (1, n_mels, n_frames), (n_mels, n_frames), or with the frames first; the result takes
the first of these. Refuses inputs that are no log-mel of the front end, weights of another network, labels that are
not one per output, and what :mod:`.functions` and :mod:`.exported` refuse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from tinyscene.runtime.spec import PRESETS, FrontendSpec, preset

from ..errors import TrainingError
from .checkpoint import LoadedModel, load_wrapped
from .exported import program_network
from .functions import module_of
from .program import ProgramNetwork

TOLERANCE = 1e-4  # of the outputs, absolute and relative


@dataclass(frozen=True)
class Brought:
    """What a user says about a network; what is None is taken from the network, or assumed and noted.

    ``input_shape``: without the batch.
    """

    input_shape: tuple[int, ...] | None = None
    frontend: FrontendSpec | None = None
    labels: tuple[str, ...] | None = None


def load_function(
    name: str, brought: Brought, weights: Path | None = None, prefix: str | None = None
) -> tuple[LoadedModel, tuple[str, ...]]:
    """The network of a function (:mod:`.functions`) as :func:`bring`.

    Args:
        weights: a checkpoint with the network's weights, under any prefix.
        prefix: which one, if the checkpoint has several.

    Raises:
        TrainingError: see the module's refusals.
    """
    model = module_of(name, None if brought.labels is None else len(brought.labels)).float()
    if weights is not None:
        load_wrapped(weights, model, prefix)
    return bring(model, brought)


def bring(model: nn.Module, brought: Brought) -> tuple[LoadedModel, tuple[str, ...]]:
    """The network in evaluation mode, as a program; and notes on what was assumed.

    Raises:
        TrainingError: see the module's refusals.
    """
    model = model.eval()
    frontend, notes = _frontend(brought, model)
    shape = brought.input_shape or (1, frontend.n_mels, frontend.n_frames)
    network = _taking_log_mel(model, shape, frontend)
    as_program = program_network(network, (1, frontend.n_mels, frontend.n_frames))
    _require_same_outputs(network, as_program)
    classes = as_program.program.n_classes
    if brought.labels is None:
        notes = (*notes, "the labels are class_0, class_1, ...; name them with --labels FILE")
    labels = brought.labels or tuple(f"class_{number}" for number in range(classes))
    if len(labels) != classes:
        raise TrainingError("--labels", "not one per output", expected=classes, got=len(labels))
    return LoadedModel(as_program, as_program.program, frontend, labels), notes


def _frontend(brought: Brought, model: nn.Module) -> tuple[FrontendSpec, tuple[str, ...]]:
    """The front end that was given, that of the network, or the only preset that makes the input."""
    own = brought.frontend or getattr(model, "frontend", None)
    if isinstance(own, FrontendSpec):
        return own, ()
    sizes = _sizes(brought.input_shape or ())
    fitting = [name for name in PRESETS if _sizes((preset(name).n_mels, preset(name).n_frames)) == sizes]
    if len(fitting) != 1:
        raise TrainingError(
            "network",
            "its front end is not known",
            expected="--frontend PRESET|FILE.json, or an attribute frontend: FrontendSpec of the network",
            got=f"{', '.join(fitting) or 'no preset'} with such a log-mel",
        )
    return preset(fitting[0]), (f"the front end is assumed to be '{fitting[0]}', the only preset with such a log-mel",)


def _sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes that count, in any order."""
    return tuple(sorted(size for size in shape if size != 1))


class _TakingLogMel(nn.Module):
    """A network whose input is a log-mel in another shape, or with the frames first."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...], frames_first: bool) -> None:
        super().__init__()
        self.network, self.shape, self.frames_first = network, shape, frames_first

    def forward(self, log_mel: Tensor) -> Tensor:
        x = log_mel.transpose(2, 3) if self.frames_first else log_mel
        y: Tensor = self.network(x.reshape(x.shape[0], *self.shape))
        return y


def _taking_log_mel(model: nn.Module, shape: tuple[int, ...], frontend: FrontendSpec) -> nn.Module:
    """The network for inputs (batch, 1, n_mels, n_frames)."""
    wanted, sizes = (frontend.n_mels, frontend.n_frames), tuple(size for size in shape if size != 1)
    if shape == (1, *wanted):
        return model
    if _sizes(shape) != _sizes(wanted) or math.prod(shape) != math.prod(wanted):
        got = f"front end '{frontend.name}' of {wanted[0]} mel bands and {wanted[1]} frames"
        step = "give another --frontend or --input"
        raise TrainingError(f"input {shape}", "is not a log-mel", expected="its sizes", got=got, next_step=step)
    return _TakingLogMel(model, shape, sizes != tuple(size for size in wanted if size != 1))


@torch.no_grad()
def _require_same_outputs(network: nn.Module, program: ProgramNetwork) -> None:
    """The program must answer as the network itself, for another number of clips than it was exported with."""
    clips = torch.randn(3, *program.program.input_shape, generator=torch.Generator().manual_seed(0))
    expected, got = network(clips), program(clips)
    if got.shape != expected.shape or not torch.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE):
        raise TrainingError(
            "network",
            "torch.export gives a program with other outputs",
            expected="a network whose outputs depend on its input and its weights only",
            next_step="look for random numbers, and for counters that change from call to call",
        )
