"""Each target's own way from samples to the network's input, so that its accuracy is that of the whole chain.

Targets that are not here hear through the runtime's log-mel: LiteRT and its kin have none of their own, and on a
Raspberry Pi it is the same program. Refuses what a target's own cannot do
(:mod:`tinyscene.firmware_harness.emit.log_mel`).
"""

from __future__ import annotations

import numpy as np

from tinyscene.firmware_harness.build.targets import Target
from tinyscene.firmware_harness.run.audio import LogMelFirmware
from tinyscene.runtime.arith import quantise
from tinyscene.runtime.arrays import I8, I16
from tinyscene.runtime.audio import mono_float32
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.spec import FrontendSpec

from ..labelled.codes import FrontEnd

CLIPS_AT_ONCE = 16


def in_c(machine: Target) -> FrontEnd:
    """The front end that firmware has, on the machine that runs the network."""

    def hear(spec: FrontendSpec, quant: Quant, waveforms: I16) -> I8:
        firmware = LogMelFirmware(spec, quant, machine)
        parts = [waveforms[at : at + CLIPS_AT_ONCE] for at in range(0, len(waveforms), CLIPS_AT_ONCE)]
        codes = [code for part in parts for code in firmware.codes([[clip] for clip in part], timeout_seconds=600.0)]
        return np.stack(codes)[..., None]

    return hear


def in_onnx(spec: FrontendSpec, quant: Quant, waveforms: I16) -> I8:
    """The nodes that a bundle's ``audio_to_scores.onnx`` begins with, in ONNX Runtime."""
    import onnxruntime

    from ..formats.onnx_log_mel import frontend_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = frontend_onnx(spec).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    log_mels = [session.run(None, {source.name: mono_float32(clip)[None]})[0][0, 0] for clip in waveforms]
    return quantise(np.stack(log_mels)[..., None], quant)


def in_pytorch(spec: FrontendSpec, quant: Quant, waveforms: I16) -> I8:
    """What training hears."""
    import torch

    from tinyscene.training.transforms.log_mel import TorchLogMel

    with torch.no_grad():
        log_mels = TorchLogMel(spec)(torch.from_numpy(np.stack([mono_float32(clip) for clip in waveforms])))
    return quantise(log_mels[:, 0, :, :, None].numpy(), quant)
