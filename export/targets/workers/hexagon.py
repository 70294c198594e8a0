"""Compile every op of an .onnx file for Qualcomm's Hexagon, and run it in the simulator that comes with the compiler.

A process of its own, because a fault in Qualcomm's libraries ends the process. Reads model.onnx and float32 inputs
(n, C, H, W); writes every output of the file by name. Refuses files of which an op would be left to the CPU, naming
each such op, and files that Qualcomm's compiler does not finish, with its message.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
from pathlib import Path

import numpy as np
import onnxruntime
import onnxruntime_qnn
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

from .job import Job, read_job, refuse
from .records import HexagonRecord

ARCHITECTURE = "73"  # Snapdragon 8 Gen 2 and later
_UNSUPPORTED = re.compile(r"\{ name: (.*?), type: (.*?) \}")


def open_session(model: Path, compiled: Path) -> onnxruntime.InferenceSession:
    """A session without fallback to the CPU; the compiled network is kept in a file."""
    onnxruntime.register_execution_provider_library("QNN", onnxruntime_qnn.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == "QNN"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_session_config_entry("ep.context_enable", "1")
    options.add_session_config_entry("ep.context_embed_mode", "0")
    options.add_session_config_entry("ep.context_file_path", str(compiled))
    settings = {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), "htp_arch": ARCHITECTURE}
    options.add_provider_for_devices(devices[:1], settings)
    return onnxruntime.InferenceSession(str(model), options)


def unsupported_ops(log: Path) -> str:
    """The ops that a failed compilation would leave to the CPU, from its log."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if "Unsupported nodes in QNN EP" in line]
    return ", ".join(f"{kind} '{name}'" for name, kind in _UNSUPPORTED.findall(lines[-1])) if lines else ""


def main(job: Job) -> None:
    compiled, log = job.folder / "compiled.onnx", job.folder / "native.log"
    standard_error = os.dup(2)
    with log.open("w") as file:
        os.dup2(file.fileno(), 2)  # the libraries log there; nothing of it is for the user
    try:
        session = open_session(job.folder / "model.onnx", compiled)
    except Exception as problem:
        os.dup2(standard_error, 2)
        if ops := unsupported_ops(log):
            refuse(f"left to the CPU: {ops}")
        if isinstance(problem, EPFail):
            refuse(f"Qualcomm's compiler: {problem}")
        raise SystemExit(str(problem)) from None
    names = [output.name for output in session.get_outputs()]
    source = session.get_inputs()[0].name
    runs = [session.run(None, {source: one[None]}) for one in job.inputs()]
    os.dup2(standard_error, 2)
    record = HexagonRecord(
        version=importlib.metadata.version("onnxruntime-qnn"),
        architecture=ARCHITECTURE,
        compiled_bytes=sum(path.stat().st_size for path in job.folder.glob(f"{compiled.stem}*.bin")),
    )
    job.finish(record, {name: np.concatenate([run[i] for run in runs]) for i, name in enumerate(names)})


if __name__ == "__main__":
    main(read_job())
