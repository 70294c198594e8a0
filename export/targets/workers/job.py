"""The worker's side of a job: a graph, inputs and files to read; one record, arrays and files to write.

Imported by every worker program, in Pythons that have NumPy and little else. The other side is
:class:`tinyscene.export.targets.worker.Worker`; both sides use the file names defined here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from tinyscene.runtime.graph import Graph
from tinyscene.runtime.graph_io import read_graph
from tinyscene.runtime.npz import Arrays, pack_arrays

from .records import Record

if TYPE_CHECKING:
    import numpy.typing as npt

INPUTS, RECORD, OUTPUTS = "inputs.npy", "record.json", "outputs.npz"
RESULTS = "results"  # the subfolder that the worker writes
UNSUPPORTED = 69  # exit code of a worker whose engine cannot run the network; the last line on standard error says why


@dataclass(frozen=True)
class Job:
    """A folder with the input files, and the words of the command line behind it."""

    folder: Path
    arguments: tuple[str, ...]

    def graph(self) -> Graph:
        """The graph, checked."""
        return read_graph(self.folder)

    def inputs(self) -> npt.NDArray[np.generic]:
        """The network inputs, one per row: int8 codes or float32 values, as the program expects them."""
        array: npt.NDArray[np.generic] = np.load(self.folder / INPUTS, allow_pickle=False)
        return array

    def result_file(self, name: str) -> Path:
        """Where to write a file that goes back to the caller."""
        return self.folder / RESULTS / name

    def finish(self, record: Record, outputs: Arrays | Mapping[str, npt.NDArray[np.int8]] | None = None) -> None:
        """Write the record, and the output arrays by name."""
        if outputs is not None:
            self.result_file(OUTPUTS).write_bytes(pack_arrays(outputs))
        self.result_file(RECORD).write_text(json.dumps(asdict(record)))


def refuse(reason: str) -> NoReturn:
    """End: this engine or converter has no form of the network, which other targets may run."""
    print(reason, file=sys.stderr)
    sys.exit(UNSUPPORTED)


def read_job() -> Job:
    """The job of this process: folder and arguments from the command line."""
    return Job(Path(sys.argv[1]), tuple(sys.argv[2:]))
