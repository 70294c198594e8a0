"""Compiles an .onnx file for Qualcomm's Hexagon, every op of it, and runs it in the simulator that the compiler brings.

A process of its own, because a fault in Qualcomm's libraries ends the process:
``python hexagon_worker.py MODEL INPUTS OUTPUTS``, INPUTS an .npy of float32 (n, C, H, W), OUTPUTS the .npz of every
output by name. Works in the current folder; prints versions and the size of the compiled network as one JSON object.
Refuses files of which an op would be left to the CPU, naming each such op.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import onnxruntime_qnn

ARCHITECTURE = "73"  # Snapdragon 8 Gen 2 and later
COMPILED, LOG = Path("compiled.onnx"), Path("native.log")
_REFUSED = re.compile(r"\{ name: (.*?), type: (.*?) \}")


def session(model: str) -> Any:
    """Opened with nothing left to the CPU; the compiled network stays in a file."""
    onnxruntime.register_execution_provider_library("QNN", onnxruntime_qnn.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == "QNN"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_session_config_entry("ep.context_enable", "1")
    options.add_session_config_entry("ep.context_embed_mode", "0")
    options.add_session_config_entry("ep.context_file_path", str(COMPILED))
    settings = {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), "htp_arch": ARCHITECTURE}
    options.add_provider_for_devices(devices[:1], settings)
    return onnxruntime.InferenceSession(model, options)


def refused() -> str:
    """The ops that the log of a failed compilation leaves to the CPU."""
    lines = [line for line in LOG.read_text(errors="replace").splitlines() if "Unsupported nodes in QNN EP" in line]
    return ", ".join(f"{kind} '{name}'" for name, kind in _REFUSED.findall(lines[-1])) if lines else ""


def main(model: str, inputs: str, outputs: str) -> None:
    errors = os.dup(2)
    with LOG.open("w") as log:
        os.dup2(log.fileno(), 2)
    try:
        machine = session(model)
    except Exception as problem:
        os.dup2(errors, 2)
        raise SystemExit(f"left to the CPU: {refused()}" if refused() else str(problem)) from None
    names = [output.name for output in machine.get_outputs()]
    source = machine.get_inputs()[0].name
    runs = [machine.run(None, {source: one[None]}) for one in np.load(inputs)]
    os.dup2(errors, 2)
    np.savez(outputs, **{name: np.concatenate([run[i] for run in runs]) for i, name in enumerate(names)})
    print(
        json.dumps(
            {
                "version": importlib.metadata.version("onnxruntime-qnn"),
                "architecture": ARCHITECTURE,
                "compiled_bytes": sum(path.stat().st_size for path in Path().glob(f"{COMPILED.stem}*.bin")),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
