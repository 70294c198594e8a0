"""Write the log-mel front end as ONNX nodes, so that one file maps the samples of a clip to scores.

Uses the tables of :mod:`tinyscene.runtime.log_mel`; differences are measured in codes of the network's int8 input.
Refuses networks whose first input is not a float32 log-mel (1, 1, mel, time) of the front end.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from tinyscene.runtime.log_mel import sparse_mel, window
from tinyscene.runtime.spec import FrontendSpec

from ..errors import ExportError
from .onnx_write import IR_VERSION, OPSET, Attribute, onnx_node

SAMPLES = "samples"  # float32 (1, clip_samples), in -1..1
LOG_MEL = "log_mel"
_PREFIX = "frontend_"


def frontend_onnx(spec: FrontendSpec, opset: int = OPSET) -> onnx.ModelProto:
    """A checked model from ``samples`` float32 (1, clip_samples) to ``log_mel`` float32 (1, 1, n_mels, n_frames).

    Raises ExportError for a front end in integer arithmetic.
    """
    if spec.arithmetic != "float":
        raise ExportError(f"front end '{spec.name}' in ONNX", "arithmetic", expected="float", got=spec.arithmetic)
    body = _Body(spec)
    framed = body.emphasised(SAMPLES) if spec.pre_emphasis else SAMPLES
    power = body.power(framed)
    body.add("Transpose", [body.log(body.mel(power))], "turned", perm=[0, 2, 1])
    body.add("Unsqueeze", ["turned", body.constant("channel_axis", np.array([1], np.int64))], LOG_MEL)
    graph = helper.make_graph(
        body.nodes,
        f"log_mel_{spec.name}",
        [helper.make_tensor_value_info(SAMPLES, TensorProto.FLOAT, [1, spec.clip_samples])],
        [helper.make_tensor_value_info(LOG_MEL, TensorProto.FLOAT, [1, 1, spec.n_mels, spec.n_frames])],
        body.constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION, producer_name="tinyscene"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def with_frontend(network: bytes, spec: FrontendSpec) -> bytes:
    """Insert the front end before a network's ONNX, int8 or float; inputs become samples, outputs stay the same.

    Raises:
        ExportError: the network's input is not the log-mel of this front end.
    """
    model = onnx.load_from_string(network)
    source = model.graph.input[0]
    shape = tuple(d.dim_value for d in source.type.tensor_type.shape.dim)
    if shape != (1, 1, spec.n_mels, spec.n_frames):
        raise ExportError(
            f"network input '{source.name}'",
            f"does not have the shape of the log-mel of front end '{spec.name}'",
            expected=(1, 1, spec.n_mels, spec.n_frames),
            got=shape,
        )
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    front = frontend_onnx(spec, opset)
    front.ir_version = model.ir_version
    # Only the names inside the front end get a prefix: users refer to the network's tensors and to samples by name.
    front = compose.add_prefix(front, _PREFIX, rename_inputs=False)
    merged = compose.merge_models(front, model, io_map=[(_PREFIX + LOG_MEL, source.name)])
    merged.producer_name = "tinyscene"
    onnx.checker.check_model(merged)
    return bytes(merged.SerializeToString())


class _Body:
    """Nodes and constants of one front end, appended in execution order."""

    def __init__(self, spec: FrontendSpec) -> None:
        self.spec = spec
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Attribute) -> str:
        self.nodes.append(onnx_node(kind, inputs, output, name=output, attributes=attributes))
        return output

    def constant(self, name: str, value: npt.NDArray[np.float32 | np.int64]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def scalar(self, name: str, value: float) -> str:
        return self.constant(name, np.array(value, np.float32))

    def emphasised(self, samples: str) -> str:
        """y[t] = x[t+1] - a x[t]."""
        axis = self.constant("time_axis", np.array([1], np.int64))
        ends = [self.constant(f"at_{at}", np.array([at], np.int64)) for at in (0, 1, self.spec.clip_samples - 1)]
        last = self.constant("at_end", np.array([self.spec.clip_samples], np.int64))
        here = self.add("Slice", [samples, ends[0], ends[2], axis], "here")
        following = self.add("Slice", [samples, ends[1], last, axis], "following")
        damped = self.add("Mul", [here, self.scalar("pre_emphasis", self.spec.pre_emphasis)], "damped")
        return self.add("Sub", [following, damped], "emphasised")

    def power(self, framed: str) -> str:
        """Power spectrum (1, frames, bins) of centred windows; the end is padded to n_fft samples per window."""
        spec = self.spec
        half, rest = spec.win_length // 2, spec.n_fft - spec.win_length
        mirrored = self.add(
            "Pad", [framed, self.constant("mirror", np.array([0, half, 0, half], np.int64))], "mirrored", mode="reflect"
        )
        padded = self.add("Pad", [mirrored, self.constant("rest", np.array([0, 0, 0, rest], np.int64))], "padded")
        shaped = self.add("Unsqueeze", [padded, self.constant("real_axis", np.array([2], np.int64))], "shaped")
        taper = np.concatenate([window(spec), np.zeros(rest, np.float32)])
        step = self.constant("hop_length", np.array(spec.hop_length, np.int64))
        spectrum = self.add("STFT", [shaped, step, self.constant("window", taper)], "spectrum", onesided=1)
        squared = self.add("Mul", [spectrum, spectrum], "squared")
        axis = self.constant("complex_axis", np.array([3], np.int64))
        return self.add("ReduceSum", [squared, axis], "power", keepdims=0)

    def mel(self, power: str) -> str:
        """Sparse mel bank (1, frames, n_mels): each band gathers its bins; short bands are filled with zero weights."""
        bank = sparse_mel(self.spec)
        widest = int(bank.length.max())
        bins = np.minimum(bank.first[:, None] + np.arange(widest), self.spec.n_fft // 2)
        weight = np.zeros(bins.shape, np.float32)
        for band, (start, length) in enumerate(zip(bank.start, bank.length, strict=True)):
            weight[band, :length] = bank.weight[start : start + length]
        gathered = self.add("Gather", [power, self.constant("bins", bins)], "gathered", axis=2)
        weighed = self.add("Mul", [gathered, self.constant("weights", weight)], "weighed")
        return self.add("ReduceSum", [weighed, self.constant("bin_axis", np.array([3], np.int64))], "mel", keepdims=0)

    def log(self, mel: str) -> str:
        spec = self.spec
        logarithm = self.add(
            "Log", [self.add("Add", [mel, self.scalar("log_offset", spec.log_offset)], "lifted")], "ln"
        )
        centred = self.add("Sub", [logarithm, self.scalar("norm_mean", spec.norm_mean)], "centred")
        return self.add("Div", [centred, self.scalar("norm_std", spec.norm_std)], "normalised")
