"""Float operators with a state from one step to the next: LSTM, in any direction, with the steps as the first axis.

Refuses initial states other than zeros, sequences of unequal lengths, peepholes, other activations, clips, coupled
gates, and the clips as the first axis. A last cell state that is read is refused with the network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyscene.training.models.program import Batch
from tinyscene.training.models.recurrent import LSTM

from .builder import ProgramBuilder, Ref, Row, Trained

_DIRECTIONS = {b"forward": 1, b"reverse": 1, b"bidirectional": 2}  # with their numbers
_ACTIVATIONS = [b"Sigmoid", b"Tanh", b"Tanh"]  # of each direction
_BIAS, _LENGTHS, _STATES, _PEEPHOLES = 3, 4, (5, 6), 7  # positions of inputs


def _lstm(b: ProgramBuilder) -> None:
    _require_plain(b)
    x, directions, units = b.ref(0), len(b.constant(1)), b.constant(2).shape[2]
    if len(x.shape) != 3 or x.batch_axis != 1:
        b.refuse("limit: its input", expected="(steps, batch, elements)", got=x.shape)
    backwards = b.attribute("direction") == b"reverse"
    x = b.call("flip.default", x, [0]) if backwards else x
    zeros = b.call("new_zeros.default", x, [directions, Batch(batch=1), units])
    several = directions > 1
    results = b.call(LSTM, x, [zeros, zeros], _parameters(b), b.has(_BIAS), 1, 0.0, False, several, False)
    y: Ref = b.call("reshape.default", b.part(results, 0), [x.shape[0], Batch(batch=1), directions, units])
    y = b.call("permute.default", y, [0, 2, 1, 3])
    b.result(b.call("flip.default", y, [0]) if backwards else y)
    for position in (1, 2):
        if b.writes(position):
            b.result(b.part(results, position), position)


def _parameters(b: ProgramBuilder) -> list[Trained]:
    """Weights and biases of each direction, as PyTorch has them."""
    parameters = []
    for at, suffix in enumerate(("", "_reverse")[: len(b.constant(1))]):
        parts = {"weight_ih": b.constant(1)[at], "weight_hh": b.constant(2)[at]}
        if b.has(_BIAS):
            parts["bias_ih"], parts["bias_hh"] = np.split(b.constant(_BIAS)[at], 2)
        parameters += [Trained(_gates(values), f"{name}_l0{suffix}") for name, values in parts.items()]
    return parameters


def _require_plain(b: ProgramBuilder) -> None:
    direction = b.attribute("direction", b"forward")
    if direction not in _DIRECTIONS:
        b.refuse("limit: 'direction' of an LSTM", expected=_text(list(_DIRECTIONS)), got=_text(direction))
    plain = {"activations": _ACTIVATIONS * _DIRECTIONS[direction], "clip": None, "input_forget": 0, "layout": 0}
    for name, expected in plain.items():
        got = b.attribute(name, expected)
        if got != expected:
            b.refuse(f"limit: '{name}' of an LSTM", expected=_text(expected), got=_text(got))
    for position, what in ((_LENGTHS, "sequences of unequal lengths"), (_PEEPHOLES, "peepholes")):
        if b.has(position):
            b.refuse(f"limit: an LSTM with {what}", expected="one without")
    if any(b.has(at) and not (b.is_constant(at) and not b.constant(at).any()) for at in _STATES):
        b.refuse("limit: an LSTM with an initial state", expected="zeros")


def _text(value: Any) -> object:
    """An attribute for a message."""
    if isinstance(value, list):
        return [_text(each) for each in value]
    return value.decode() if isinstance(value, bytes) else "none" if value is None else value


def _gates(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Weights or biases of the gates input, output, forget, cell in the order of PyTorch, which has the output last."""
    write, read, forget, new = np.split(values, 4)
    return np.concatenate([write, forget, new, read])


ROWS: dict[str, Row] = {"LSTM": _lstm}
