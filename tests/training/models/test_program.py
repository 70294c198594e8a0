"""Programs: they answer as the network they were made of, survive JSON, and are refused when they are not one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tests.training.models.own_networks import SHAPE, Own
from tinyscene.export.quantise.aten import ROWS
from tinyscene.training.errors import TrainingError
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import MODELS, named_config
from tinyscene.training.models.exported import program_network
from tinyscene.training.models.program import OPERATORS, Program, ProgramNetwork, network_of
from tinyscene.training.models.recurrent import MOST_STEPS, lstm


def _read_again(network: ProgramNetwork) -> ProgramNetwork:
    return network_of(Program.model_validate_json(network.program.model_dump_json()), network.state_dict(), "test")


def test_the_operators_are_those_that_have_an_integer_form() -> None:
    assert set(ROWS) == OPERATORS


@pytest.mark.parametrize("name", ["own", "cpm23-8", "dcase25", "ds-cnn-64", "tc-resnet8", "cpresnet-33k"])
@torch.no_grad()
def test_a_program_answers_as_its_network(name: str) -> None:
    torch.manual_seed(0)
    model = Own() if name == "own" else build_model(named_config(name))
    shape = SHAPE if name == "own" else (1, 256, 64)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
        nn.init.normal_(norm.running_mean)
    program = _read_again(program_network(model, shape))
    for clips in (1, 3):
        x = torch.randn(clips, *shape)
        assert torch.equal(program(x), model(x)) or torch.allclose(program(x), model(x), atol=1e-6)
    assert set(program.state_dict()) >= {n for n in model.state_dict() if not n.endswith("num_batches_tracked")}
    assert {n for n, _ in program.named_parameters()} == {n for n, _ in model.named_parameters()}


def test_every_named_network_has_a_program() -> None:
    for name, config in MODELS.items():
        if config.arch not in ("passt", "cp_mobile", "cp_resnet"):
            program_network(build_model(named_config(name)), (1, 256, 64))


class _ByPlaces(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, [3, 1, 0]].index_select(3, torch.tensor([1, 0])).flatten(1)


def test_places_beyond_the_input_are_refused() -> None:
    network = program_network(_ByPlaces(), SHAPE)
    assert _read_again(network).program == network.program
    for name, places in network.state_dict().items():
        for beyond in (places + 99, places - 99, places.float()):
            with pytest.raises(TrainingError, match="cannot be built"):
                network_of(network.program, {**network.state_dict(), name: beyond}, "test")


def _changed(record: dict[str, Any], number: int, **fields: Any) -> dict[str, Any]:
    calls = [dict(call) for call in record["calls"]]
    calls[number].update(fields)
    return {**record, "calls": calls}


@pytest.fixture(scope="module")
def stored() -> tuple[dict[str, Any], dict[str, Tensor]]:
    network = program_network(Own(), SHAPE)
    return json.loads(network.program.model_dump_json()), network.state_dict()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"operator": "from_file.default"}, "operator 'from_file.default' has no integer form"),
        ({"operator": "relu_.default"}, "operator 'relu_.default' has no integer form"),
        ({"operator": "conv2d.no_such"}, "no_such"),
        ({"operator": "__class__.x"}, "has no integer form"),
        ({"args": [{"value": "later"}]}, "later"),
        ({"args": [{"weight": "nowhere"}]}, "nowhere"),
        ({"args": []}, "missing"),
        ({"name": "x"}, "two values have one name"),
        ({"module": "forward"}, "forward"),
        ({"module": "stem.0.weight"}, "weight"),
    ],
)
def test_calls_that_are_none_are_refused(stored, fields: dict[str, Any], words: str) -> None:
    record, state = stored
    with pytest.raises(TrainingError, match="its network cannot be built") as refused:
        network_of(Program.model_validate(_changed(record, 0, **fields)), state, "m.pt")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"args": [{"value": "input", "weight": "x"}]},
        {"args": [[[1]]]},
        {"args": [float("inf")]},
        {"args": [{"batch": 0}]},
        {"args": [1] * 100},
        {"kwargs": {"f": {"value": ["x"]}}},
        {"name": ""},
        {"extra": 1},
    ],
)
def test_records_that_are_no_program_are_refused(stored, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Program.model_validate(_changed(stored[0], 0, **fields))


def test_a_result_that_is_too_large_is_refused_before_it_is_computed(stored) -> None:
    record, state = stored
    pad = {
        "name": "huge",
        "module": "",
        "operator": "pad.default",
        "args": [{"value": "x"}, [0, 2**20, 0, 2**10]],
        "kwargs": {},
    }
    with pytest.raises(TrainingError, match="too large"):
        network_of(Program.model_validate({**record, "calls": [pad, *record["calls"]]}), state, "m.pt")


def test_more_products_than_a_network_has_are_refused_before_they_are_computed(stored) -> None:
    record, state = stored
    pad = {"name": "wide", "module": "", "operator": "pad.default", "args": [{"value": "x"}, [0, 2000, 0, 2000]]}
    pool = {
        "name": "pool",
        "module": "",
        "operator": "avg_pool2d.default",
        "args": [{"value": "wide"}, [1000, 1000], [1, 1]],
    }
    with pytest.raises(TrainingError, match="more than 10,000,000,000 multiply-accumulates up to call 'pool'"):
        network_of(Program.model_validate({**record, "calls": [pad, pool, *record["calls"]]}), state, "m.pt")


@pytest.mark.parametrize("args", [[], [1, 2], [{"weight": "head.bias"}, 0]])
def test_elements_of_no_value_are_refused(stored, args: list[Any]) -> None:
    record, state = stored
    with pytest.raises(TrainingError, match="its network cannot be built"):
        network_of(Program.model_validate(_changed(record, 0, operator="index_select.default", args=args)), state, "m")


@pytest.mark.parametrize("change", [{"shape": [4]}, {"shape": [3, 1]}, {"name": "nowhere"}, {"name": "x"}])
def test_an_output_that_no_call_makes_is_refused(stored, change: dict[str, Any]) -> None:
    record, state = stored
    outputs = [{**record["outputs"][0], **change}]
    with pytest.raises(TrainingError, match="is no tensor of"):
        network_of(Program.model_validate({**record, "outputs": outputs}), state, "m.pt")


def test_an_output_that_mixes_clips_is_refused(stored) -> None:
    record, state = stored
    mixed = {"name": "mixed", "module": "", "operator": "reshape.default", "args": [{"value": "x"}, [1, -1]]}
    changed = {**record, "calls": [mixed], "outputs": [{"name": "mixed", "shape": [2 * SHAPE[1] * SHAPE[2]]}]}
    with pytest.raises(TrainingError, match="mixes clips"):
        network_of(Program.model_validate(changed), state, "m.pt")


class _TwoEnds(nn.Module):
    """Two inputs and three outputs, of which two are one tensor."""

    def forward(self, image: Tensor, pose: Tensor) -> tuple[Tensor, ...]:
        y = image * pose[:, :, None, None]
        return y.mean((2, 3)), y, y


@torch.no_grad()
def test_several_inputs_and_outputs_survive_json() -> None:
    network = program_network(_TwoEnds(), (3, 4, 5), (3,))
    assert {end.name: end.shape for end in network.program.inputs} == {"image": (3, 4, 5), "pose": (3,)}
    assert [end.shape for end in network.program.outputs] == [(3,), (3, 4, 5), (3, 4, 5)]
    assert network.program.n_classes is None
    inputs = torch.randn(3, 3, 4, 5), torch.randn(3, 3)
    for got, expected in zip(_read_again(network)(*inputs), _TwoEnds()(*inputs), strict=True):
        assert torch.equal(got, expected)


class _Unused(nn.Module):
    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return x.flatten(1) * 2


class _Repeated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x]).flatten(1)


class _Fixed(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones(2, 3), x * 2


class _Fft(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).abs().flatten(1)


class _Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


class _Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1).half() * 2).float()


class _Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **options: object) -> None:
        super().__init__()
        self.layer = kind(8, 4, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.flatten(1)[:, :16].reshape(-1, 2, 8))[0][:, -1]
        return y


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (_Recurrent(nn.GRU), "a GRU has no integer form: TensorFlow Lite Micro has no such operator"),
        (_Recurrent(nn.RNN, nonlinearity="relu"), "a plain RNN has no integer form"),
        (_Fixed(), "an output does not depend on an input"),
        (_Repeated(), "an output has another shape"),
        (_Fft(), "operator 'fft_rfft' has no integer form"),
        (_Branch(), "torch.export cannot export it"),
        (_Half(), "not float32"),
        (nn.Identity(), "an output does not depend on an input, or is one"),
    ],
)
def test_networks_without_a_program_are_refused(network: nn.Module, words: str) -> None:
    with pytest.raises(TrainingError, match="network") as refused:
        program_network(network, SHAPE)
    assert words in str(refused.value)


def test_an_lstm_has_a_bounded_number_of_steps() -> None:
    network = program_network(_Recurrent(nn.LSTM), SHAPE)
    assert _read_again(network).program == network.program
    many = torch.empty(1, MOST_STEPS + 1, 8, device="meta")
    with pytest.raises(ValueError, match="an LSTM of 4097 steps"):
        lstm(many, [many, many], [], True, 1, 0.0, False, False, True)


class _Named(nn.Module):
    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            self.add_module(name, nn.Conv2d(1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


@torch.no_grad()
def test_parts_may_have_any_name_but_one() -> None:
    network = _Named("places", "results", "calls", "inputs", "outputs", "state")
    x = torch.randn(3, *SHAPE)
    torch.testing.assert_close(program_network(network, SHAPE)(x), network(x))
    with pytest.raises(TrainingError, match="'program' already exists"):
        program_network(_Named("program"), SHAPE)


def test_an_input_that_is_not_read_is_refused() -> None:
    with pytest.raises(TrainingError, match="input 'other': nothing depends on it"):
        program_network(_Unused(), SHAPE, (4,))
