"""Networks that are calibrated: programs of checkpoints, and float ONNX files. Accepted ones answer for a clip."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import lru_cache

import torch
from pydantic import ValidationError
from torch import nn

from tests.export.formats.onnx_networks import NETWORKS, float_onnx
from tests.training.models.own_networks import SHAPE, Own
from tinyscene.export.float_onnx import onnx_network
from tinyscene.runtime.json_files import parse_json
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.exported import program_network
from tinyscene.training.models.program import Program, ProgramNetwork, network_of

from .mutate import mutate_json
from .onnx_files import mutate_onnx, small_float_onnx
from .readers import Reader


@lru_cache(maxsize=1)
def _own() -> ProgramNetwork:
    return program_network(Own(), SHAPE)


def _program_seeds() -> Iterable[bytes]:
    yield _own().program.model_dump_json().encode()


@torch.no_grad()
def _answer(network: ProgramNetwork) -> None:
    network(*(torch.zeros(1, *end.shape) for end in network.program.inputs))


def _read_program(data: bytes) -> None:
    record = parse_json(data, "program", "copy it again")
    try:
        program = Program.model_validate(record)
    except ValidationError as problem:  # the checkpoint's reader turns it into its error
        raise TrainingError("program", "damaged", got=str(problem).splitlines()[0]) from problem
    _answer(network_of(program, _own().state_dict(), "program"))


def _float_seeds() -> Iterable[bytes]:
    yield small_float_onnx()
    for name in ("squeeze", "branches", "shuffle"):
        yield float_onnx(*NETWORKS[name])
    file, model = io.BytesIO(), nn.Sequential(nn.Conv2d(1, 2, 3), nn.Hardswish(), nn.Flatten(), nn.Linear(2 * 16, 3))
    torch.onnx.export(model.eval(), (torch.zeros(1, 1, 6, 6),), file, dynamo=False, opset_version=13)
    yield file.getvalue()


def _read_float(data: bytes) -> None:
    _answer(onnx_network(data, "m.onnx"))


PROGRAM = Reader(_read_program, _program_seeds, mutate_json, 65_536)
FLOAT_ONNX = Reader(_read_float, _float_seeds, mutate_onnx, 65_536)
