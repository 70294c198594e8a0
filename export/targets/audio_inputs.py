"""Each target's own front end: from samples to network input, so that its accuracy is that of the whole chain.

Targets that are not here use the runtime's log-mel: LiteRT and its relatives have no front end, and a Raspberry Pi runs
the same program. So do PyTorch and ONNX where a model ships the front end in integer arithmetic.
Refuses front ends that a target does not support (:mod:`tinyscene.firmware_harness.emit.log_mel`).
"""

from __future__ import annotations

import numpy as np

from tinyscene.firmware_harness.build.targets import Target
from tinyscene.firmware_harness.run.audio import LogMelFirmware
from tinyscene.runtime.arith import quantise
from tinyscene.runtime.arrays import I8, I16
from tinyscene.runtime.audio import mono_float32
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.integer_log_mel import open_log_mel
from tinyscene.runtime.spec import FrontendSpec

from ..labelled.codes import FrontEnd

CLIPS_AT_ONCE = 16


def c_front_end(machine: Target) -> FrontEnd:
    """The firmware's front end, on the machine that runs the network."""

    def codes(spec: FrontendSpec, quant: Quant, waveforms: I16) -> I8:
        firmware = LogMelFirmware(spec, quant, machine)
        parts = [waveforms[at : at + CLIPS_AT_ONCE] for at in range(0, len(waveforms), CLIPS_AT_ONCE)]
        clips = [code for part in parts for code in firmware.codes([[clip] for clip in part], timeout_seconds=600.0)]
        return np.stack(clips)[..., None]

    return codes


def runtime_front_end(spec: FrontendSpec, quant: Quant, waveforms: I16) -> I8:
    """The runtime's log-mel."""
    log_mel = open_log_mel(spec, quant)
    return quantise(np.stack([log_mel(mono_float32(clip)) for clip in waveforms])[..., None], quant)


def onnx_front_end(spec: FrontendSpec, quant: Quant, waveforms: I16) -> I8:
    """The first nodes of a bundle's ``audio_to_scores.onnx``, in ONNX Runtime."""
    import onnxruntime

    from ..formats.onnx_log_mel import frontend_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = frontend_onnx(spec).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    log_mels = [session.run(None, {source.name: mono_float32(clip)[None]})[0][0, 0] for clip in waveforms]
    return quantise(np.stack(log_mels)[..., None], quant)


def pytorch_front_end(spec: FrontendSpec, quant: Quant, waveforms: I16) -> I8:
    """The log-mel of training."""
    import torch

    from tinyscene.training.transforms.log_mel import TorchLogMel

    with torch.no_grad():
        log_mels = TorchLogMel(spec)(torch.from_numpy(np.stack([mono_float32(clip) for clip in waveforms])))
    return quantise(log_mels[:, 0, :, :, None].numpy(), quant)


FLOAT_ONLY: frozenset[FrontEnd] = frozenset({onnx_front_end, pytorch_front_end})
