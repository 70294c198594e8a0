"""``tinyscene check`` counts bundles, .tflite and .onnx files on a machine without PyTorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import small_net
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.tflite_write import to_tflite

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["lightning"] = None  # importing them raises ModuleNotFoundError
from tinyscene.command_line import main
sys.exit(main(sys.argv[1:]))
"""


def _check(repository: Path, model: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, "check", str(model)]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", ["bundle", "tflite", "onnx"])
def test_quantised_models_are_counted(kind: str, tiny_bundle: Bundle, tmp_path: Path, repository: Path) -> None:
    model = tiny_bundle.path if kind == "bundle" else tmp_path / f"model.{kind}"
    graph = small_net(np.random.default_rng(2), grn=False)
    if kind != "bundle":
        model.write_bytes(to_tflite(graph) if kind == "tflite" else to_onnx(graph))
    ran = _check(repository, model)
    assert ran.returncode == 0, ran.stderr
    assert "rule dcase" in ran.stdout


def test_a_checkpoint_needs_pytorch(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"")
    ran = _check(repository, tmp_path / "model.pt")
    assert ran.returncode == 2
    assert "torch" in ran.stderr
