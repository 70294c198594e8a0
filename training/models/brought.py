"""A network made elsewhere with its weights, front end and labels, as a checkpoint holds it.

A network for audio takes a log-mel as (1, n_mels, n_frames), (n_mels, n_frames), or with the frames first; the result
takes the first of these, and gives one row of scores. Any other network has no front end: its inputs and outputs are
tensors. Refuses inputs that are no log-mel of a front end that was given, weights of another network, labels that are
not one per score, and what :mod:`.functions` and :mod:`.exported` refuse.
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
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Brought:
    """What a user says about a network; what is left out is taken from the network, or assumed and noted.

    ``input_shapes``: of each input, without the batch. ``without_frontend``: none is taken from the network or assumed.
    """

    input_shapes: tuple[Shape, ...] = ()
    frontend: FrontendSpec | None = None
    labels: tuple[str, ...] | None = None
    without_frontend: bool = False


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
    stated = brought.frontend or getattr(model, "frontend", None)
    stated = stated if isinstance(stated, FrontendSpec) and not brought.without_frontend else None
    shapes = brought.input_shapes or _shapes_of(stated)
    if stated is not None:
        _require_log_mel(shapes, stated)
    network = program_network(model, *shapes)
    _require_same_outputs(model, network)
    known = stated is not None or brought.without_frontend
    frontend, notes = (stated, ()) if known else _fitting(network)
    if frontend is not None:
        network = _taking_log_mel(network, shapes, frontend)
    labels, more = _labels(network, frontend, brought.labels)
    return LoadedModel(network, network.program, frontend, labels), (*notes, *more)


def _shapes_of(frontend: FrontendSpec | None) -> tuple[Shape, ...]:
    if frontend is None:
        expected = "--input SHAPE for each input, or --frontend PRESET|FILE.json"
        step = "give one, or set an attribute frontend: FrontendSpec of the network"
        raise TrainingError("network", "its input is not known", expected=expected, next_step=step)
    return ((1, frontend.n_mels, frontend.n_frames),)


def _fitting(network: ProgramNetwork) -> tuple[FrontendSpec | None, tuple[str, ...]]:
    """The only preset that makes the only input of a network with one row of scores; None if there is none."""
    program = network.program
    fitting: list[str] = []
    if len(program.inputs) == 1 and program.n_classes is not None:
        sizes = _sizes(program.inputs[0].shape)
        fitting = [name for name in PRESETS if _sizes((preset(name).n_mels, preset(name).n_frames)) == sizes]
    if len(fitting) == 1:
        return preset(fitting[0]), (
            f"the front end is assumed to be '{fitting[0]}', the only preset with such a log-mel",
        )
    several = f": {' and '.join(fitting)} have such a log-mel, choose with --frontend" if fitting else ""
    return None, (f"the network has no front end{several}; its inputs are given as .npy files",)


def _labels(
    network: ProgramNetwork, frontend: FrontendSpec | None, given: tuple[str, ...] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels, numbered ones where a front end needs some; and notes."""
    classes = network.program.n_classes
    if given is None and frontend is None:
        return (), ()
    if classes is None:
        where, expected = ("--labels", "--frontend")[given is None], "one row of scores for each clip"
        got = [(end.name, end.shape) for end in network.program.outputs]
        raise TrainingError(where, "does not fit the network's outputs", expected=expected, got=got)
    if given is None:
        numbered = tuple(f"class_{number}" for number in range(classes))
        return numbered, ("the labels are class_0, class_1, ...; name them with --labels FILE",)
    if len(given) != classes:
        raise TrainingError("--labels", "not one per output", expected=classes, got=len(given))
    return given, ()


def _sizes(shape: Shape) -> Shape:
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


def _taking_log_mel(network: ProgramNetwork, shapes: tuple[Shape, ...], frontend: FrontendSpec) -> ProgramNetwork:
    """The network for one input (batch, 1, n_mels, n_frames)."""
    wanted = (frontend.n_mels, frontend.n_frames)
    if shapes == ((1, *wanted),):
        return network
    sizes = tuple(size for size in shapes[0] if size != 1)
    frames_first = sizes != tuple(size for size in wanted if size != 1)
    return program_network(_TakingLogMel(network, shapes[0], frames_first), (1, *wanted))


def _require_log_mel(shapes: tuple[Shape, ...], frontend: FrontendSpec) -> None:
    wanted = (frontend.n_mels, frontend.n_frames)
    if len(shapes) != 1 or _sizes(shapes[0]) != _sizes(wanted) or math.prod(shapes[0]) != math.prod(wanted):
        got = f"front end '{frontend.name}' of {wanted[0]} mel bands and {wanted[1]} frames"
        step = "give another --frontend or --input"
        where = f"input {' and '.join(map(str, shapes))}"
        raise TrainingError(where, "is not a log-mel", expected="its sizes", got=got, next_step=step)


@torch.no_grad()
def _require_same_outputs(model: nn.Module, network: ProgramNetwork) -> None:
    """The program must answer as the network itself, for another number of clips than it was exported with."""
    random = torch.Generator().manual_seed(0)
    inputs = [torch.randn(3, *end.shape, generator=random) for end in network.program.inputs]
    for expected, got in zip(_outputs(model, inputs), _outputs(network, inputs), strict=True):
        if got.shape != expected.shape or not torch.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE):
            raise TrainingError(
                "network",
                "torch.export gives a program with other outputs",
                expected="a network whose outputs depend on its input and its weights only",
                next_step="look for random numbers, and for counters that change from call to call",
            )


def _outputs(model: nn.Module, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    outputs = model(*inputs)
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
