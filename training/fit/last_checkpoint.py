"""The two files that a run is resumed from: ``last.ckpt`` and ``run.json``.

``run.json`` records what determines the weights and the measured throughput; ``last.ckpt`` the state after an epoch and
the digest of that record. Both are written whole or not at all, and read completely before anything is trained. Refuses
files that are missing, cut off, of another form or of another run; the error names the files to remove.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from tinyscene.runtime.files import write_file
from tinyscene.runtime.json_files import read_json
from tinyscene.runtime.system_errors import reason

from ..errors import TrainingError
from ..models.torch_file import write_torch

CHECKPOINT = "last.ckpt"
RUN = "run.json"
FORMAT = 1  # of the entry below
ENTRY = "tinyscene"  # key in a checkpoint of Lightning: format, and digest of the run
STATE = ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "history")


class LastCheckpoint(CheckpointIO):
    """Writes and reads the checkpoint of one run; ``state`` is what was read before training starts."""

    def __init__(self, path: Path, identity: Mapping[str, object]) -> None:
        self.path = path
        self.digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self.state: dict[str, Any] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        write_torch(Path(path), {**checkpoint, ENTRY: {"format": FORMAT, "run": self.digest}})

    def load_checkpoint(self, path: str | Path, *_arguments: object, **_options: object) -> dict[str, Any]:
        assert self.state is not None
        return self.state

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)

    def read(self) -> None:
        """Read ``state``; raises TrainingError if the file is not a whole checkpoint of this run."""
        content = _torch_content(self.path)
        entry = content.get(ENTRY)
        missing = [key for key in STATE if key not in content]
        if not isinstance(entry, dict) or missing:
            raise _refused(self.path, "not the last checkpoint of a run", got=sorted(map(str, content))[:5])
        if entry.get("format") != FORMAT:
            raise _refused(self.path, "unknown format", expected=FORMAT, got=entry.get("format"))
        if entry.get("run") != self.digest:
            raise _refused(self.path, "of another run than the run.json beside it")
        self.state = content


def read_run(path: Path) -> dict[str, object]:
    """The record of an earlier run; raises TinysceneError if the file is missing or is no such record."""
    record = read_json(path, "the record of a run", _next_step(path))
    if not isinstance(record, dict):
        raise _refused(path, "not the record of a run", expected="a JSON object", got=type(record).__name__)
    return record


def write_run(path: Path, record: Mapping[str, object]) -> None:
    """Write the record; raises RuntimeFailure if it cannot be written."""
    write_file(path, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())


def _torch_content(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as problem:
        raise _refused(path, "cannot be read", got=reason(problem).what) from problem
    except Exception as problem:  # PyTorch raises many types on damaged bytes
        raise _refused(path, "not a whole checkpoint", got=f"{path.stat().st_size} bytes") from problem
    if not isinstance(content, dict):
        raise _refused(path, "not a checkpoint", got=type(content).__name__)
    return content


def _refused(path: Path, what: str, *, expected: object = None, got: object = None) -> TrainingError:
    return TrainingError(str(path), what, expected=expected, got=got, next_step=_next_step(path))


def _next_step(path: Path) -> str:
    """Both files are removed together: neither can be resumed from without the other."""
    both = f"{path.parent / CHECKPOINT} and {path.parent / RUN}"
    return f"remove {both} to train this network from the beginning"
