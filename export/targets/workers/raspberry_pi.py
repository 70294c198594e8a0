"""Opens an engine on a model and runs it, inside the emulated Raspberry Pi: our own runtime with the arm64 wheels.

``python pi_worker.py ENGINE FOLDER``; FOLDER holds graph.json, graph.npz, the model file and inputs.npy, int8
(n, H, W, C); outputs.npz gets every output by name. Prints machine, package versions and the engine's notes as one
JSON object.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyscene.runtime.engines import open_engine
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.graph_io import read_graph


@dataclass(frozen=True)
class Files:
    """A folder as :class:`tinyscene.runtime.engines.ModelFiles`."""

    graph: Graph
    folder: Path

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


def main(engine: str, folder: Path) -> None:
    graph = read_graph(folder)
    opened = open_engine(engine, Files(graph, folder))
    np.savez(folder / "outputs.npz", **opened.outputs(np.load(folder / "inputs.npy")))
    versions = {name: importlib.metadata.version(name) for name in ("ai-edge-litert", "onnxruntime", "numpy")}
    print(json.dumps({"machine": platform.machine(), "versions": versions, "notes": opened.notes}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
