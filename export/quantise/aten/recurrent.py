"""Operators of PyTorch with a state from one step to the next: the LSTM, in one direction or two, of any depth.

The state before the first step is zero. Refuses other initial states, projections, dropout, a last cell state that is
read, and steps that are the clips.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tinyscene.runtime import ops

from ..float_steps import LstmStep, OpStep
from .call import Call
from .reader import Reader, Row
from .values import View, rows

_ORDER = (0, 1, 2)  # clips, steps, elements
_HIDDEN, _CELL = 1, 2  # positions of the last states among the results


def _lstm(reader: Reader, call: Call) -> tuple[View, View | None, None]:
    """The outputs of the last layer, and the last hidden states of all layers, if they are read."""
    _require_plain(reader, call)
    weights, last, y = _weights_of_layers(call), [], _clips_first(call, call.view("input"))
    if rows(y.positions, _ORDER) is None:
        reader.refuse(call, "an LSTM whose steps are the clips: 'batch_first' does not fit its input")
    directions = ("", "_reverse") if call["bidirectional"] else ("",)
    single = call["num_layers"] == len(directions) == 1
    for layer in range(call["num_layers"]):
        outputs = []
        for direction in directions:
            name = reader.unique(call.name if single else f"{call.name}.l{layer}{direction}")
            output = _one_direction(reader, call, name, y, next(weights), reverse=bool(direction))
            outputs.append(output)
            at = 0 if direction else output.shape[1] - 1
            last.append(View(output.name, output.positions.narrow(1, at, 1)))
        y = _joined(reader, call, outputs, axis=2)
    hidden = _joined(reader, call, last, axis=1) if _is_read(call, _HIDDEN) else None
    return _clips_first(call, y), hidden and View(hidden.name, hidden.positions.transpose(0, 1)), None


def _require_plain(reader: Reader, call: Call) -> None:
    """Refuse by name what the op of the set does not have."""
    if not all(isinstance(state, Tensor) and not bool(state.any()) for state in call["hx"]):
        reader.refuse(call, "an LSTM with an initial state other than zeros")
    layers = call["num_layers"] * (2 if call["bidirectional"] else 1)
    if len(call["params"]) != layers * (4 if call["has_biases"] else 2):
        reader.refuse(call, "an LSTM with projections (proj_size)")
    if not all(isinstance(each, Tensor) for each in call["params"]):
        reader.refuse(call, "an LSTM whose weights are computed from the input")
    if call["train"] and call["dropout"]:
        reader.refuse(call, "an LSTM with dropout in training mode")
    if _is_read(call, _CELL):
        reader.refuse(call, "the last cell state of an LSTM is read; its outputs and its last hidden state can be")


def _is_read(call: Call, position: int) -> bool:
    """Whether one of the results has a reader."""
    return any(user.args[1] == position and user.users for user in call.node.users)


def _clips_first(call: Call, x: View) -> View:
    """The view with clips and steps exchanged, unless the clips are PyTorch's first axis; or back."""
    return x if call["batch_first"] else View(x.name, x.positions.transpose(0, 1))


def _weights_of_layers(call: Call) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Weights of the input and of the hidden state, and the sum of their biases, of each layer and direction."""
    given = iter(call["params"])
    for weight in given:
        recurrent = next(given)
        bias = next(given) + next(given) if call["has_biases"] else torch.zeros(len(weight), device=weight.device)
        yield weight, recurrent, bias


def _one_direction(
    reader: Reader, call: Call, name: str, x: View, weights: tuple[Tensor, Tensor, Tensor], *, reverse: bool
) -> View:
    """The outputs (clips, steps, units) in the order of the steps of ``x``."""
    x = View(x.name, x.positions.flip(1)) if reverse else x
    step = LstmStep(name, (reader.stored(x, _ORDER),), *weights)
    y = reader.add(call.node, step, (*x.shape[:2], weights[1].shape[1]), _ORDER)
    return View(y.name, y.positions.flip(1)) if reverse else y


def _joined(reader: Reader, call: Call, parts: list[View], axis: int) -> View:
    """One of the directions or layers behind the other; one alone is itself."""
    if len(parts) == 1:
        return parts[0]
    shape = list(parts[0].shape)
    shape[axis] *= len(parts)
    names = tuple(reader.stored(part, _ORDER) for part in parts)
    step = OpStep(reader.unique(f"{call.name}.joined"), names, ops.Concat(axis))
    return reader.add(call.node, step, tuple(shape), _ORDER)


ROWS: dict[str, Row] = {"lstm": _lstm}
