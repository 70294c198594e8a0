"""Targets use their own front ends; the differences that these cause are counted separately from the network's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tinyscene.export.labelled.codes import LabelledCodes, Waveforms
from tinyscene.export.targets.audio_inputs import FrontEnd, c_front_end, onnx_front_end, pytorch_front_end
from tinyscene.export.targets.table import TARGETS, TargetRow
from tinyscene.export.verify.verify import verify
from tinyscene.firmware_harness.build.targets import TARGETS as MACHINES
from tinyscene.runtime.arith import quantise
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.audio import mono_float32
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.log_mel import LogMel
from tinyscene.runtime.spec import FrontendSpec, preset

QUANT = Quant.per_tensor(0.0154, -36)
CLIPS = 4


@pytest.fixture(scope="module")
def waveforms() -> np.ndarray:
    rng = np.random.default_rng(0)
    loudness = 10.0 ** np.linspace(1, 4, CLIPS)[:, None]
    return (loudness * rng.standard_normal((CLIPS, 32_000))).clip(-32768, 32767).astype(np.int16)


def _codes(spec: FrontendSpec, quant: Quant, waveforms: np.ndarray) -> I8:
    log_mel = LogMel(spec)
    return quantise(np.stack([log_mel(mono_float32(w)) for w in waveforms])[..., None], quant)


@pytest.mark.needs_tool("gcc")
@pytest.mark.needs_module("onnxruntime")
@pytest.mark.parametrize("name", ["cpm23", "dcase25"])
@pytest.mark.parametrize(
    "front_end",
    [c_front_end(MACHINES["host"]), onnx_front_end, pytorch_front_end],
    ids=["c", "onnx", "pytorch"],
)
def test_codes_are_the_runtime_s_except_near_ties(front_end: FrontEnd, name: str, waveforms: np.ndarray) -> None:
    spec = preset(name)
    off = np.abs(front_end(spec, QUANT, waveforms).astype(int) - _codes(spec, QUANT, waveforms))
    assert off.shape == (CLIPS, spec.n_mels, spec.n_frames, 1)
    assert off.max() <= 1
    assert np.mean(off > 0) < 2e-3


def _labelled(bundle: Bundle, waveforms: np.ndarray) -> LabelledCodes:
    codes = _codes(bundle.frontend, bundle.graph.tensors[bundle.graph.input].quant, waveforms)
    zeros = np.zeros(CLIPS, np.int64)
    audio = Waveforms(waveforms, bundle.frontend)
    return LabelledCodes(codes, zeros, zeros, np.full(CLIPS, "a"), "noise", audio)


@pytest.mark.needs_tool("gcc")
def test_firmware_uses_its_own_front_end(tiny_bundle: Bundle, waveforms: np.ndarray) -> None:
    inputs = tiny_bundle.golden().inputs[:1]
    labelled = _labelled(tiny_bundle, waveforms).sample(3)
    c, numpy = verify(tiny_bundle.graph, inputs, targets=("c-host", "numpy-double"), labelled=labelled).results
    assert c.status == "equal"
    assert c.predictions is not None
    assert (c.predictions.scores_different, c.predictions.clips) == (0, 3)
    assert c.front_end is not None
    assert c.front_end.codes_compared == labelled.codes.size
    assert c.front_end.max_lsb in (0, 1)
    assert "own front end: " in c.note
    assert numpy.front_end is None


def test_a_wrong_front_end_is_counted_and_not_charged_to_the_network(
    tiny_bundle: Bundle, waveforms: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(spec: FrontendSpec, quant: Quant, waveforms: np.ndarray) -> I8:
        codes = _codes(spec, quant, waveforms)
        codes[-1, :2] = -128
        return codes

    row = TARGETS["numpy-double"]
    assert isinstance(row, TargetRow)
    monkeypatch.setitem(TARGETS, "numpy-double", replace(row, front_end=wrong))
    labelled = _labelled(tiny_bundle, waveforms)
    (result,) = verify(
        tiny_bundle.graph, tiny_bundle.golden().inputs, targets=("numpy-double",), labelled=labelled
    ).results
    assert result.status == "equal"
    assert result.predictions is not None
    assert result.predictions.scores_different == 0
    assert result.front_end is not None
    assert result.front_end.codes_different == np.count_nonzero(labelled.codes[-1, :2] != -128) > 0
    assert result.front_end.max_lsb > 1
