"""What an Arm Ethos-U would make of a model: which ops it takes, and an estimate of its cycles and memory.

Vela, Arm's compiler, is run as a program of its own: it compiles and estimates, nothing is executed. Its cycles leave
out whatever stays on the CPU, so the share of the NPU is part of every figure. Refuses NPUs that are not in the table
and files that Vela cannot read.

Source of names and memories: the configuration file that comes with Vela (Arm/vela.ini).
"""

from __future__ import annotations

import csv
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ExportError
from .subprocesses import Failure, last_line, run_program

VELA_TIMEOUT_SECONDS = 600
_OPERATORS = re.compile(r"(CPU|NPU) operators = (\d+)")
_REFUSED = re.compile(r"Warning \(supported operators\) operator: (?P<op>\w+), ofm: '(?P<output>.*)'\n(?P<why>.*)")
_MEMORIES = ("sram", "dram", "on_chip_flash", "off_chip_flash")


@dataclass(frozen=True)
class Npu:
    """An NPU in a system, in Vela's names."""

    name: str
    system_config: str
    memory_mode: str


NPUS = {
    npu.name: npu
    for npu in (
        Npu("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram"),
        Npu("ethos-u55-256", "Ethos_U55_High_End_Embedded", "Shared_Sram"),
        Npu("ethos-u65-256", "Ethos_U65_High_End", "Dedicated_Sram"),
        Npu("ethos-u85-256", "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
    )
}


@dataclass(frozen=True)
class Estimate:
    """Vela's figures for one inference; ``refused`` names each op left to the CPU, and why."""

    npu: str
    ops_on_npu: int
    ops_on_cpu: int
    refused: tuple[str, ...]
    cycles: int
    milliseconds: float
    sram_bytes: int
    flash_bytes: int
    macs: int

    @property
    def npu_share(self) -> float:
        """Of the ops, 0..1."""
        return self.ops_on_npu / max(1, self.ops_on_npu + self.ops_on_cpu)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "npu_share": self.npu_share}


@dataclass(frozen=True)
class Estimates:
    """Of several NPUs. ``left_out``: why nothing is known of one, by its name; a missing Vela among the reasons."""

    rows: tuple[Estimate, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


def npu_named(name: str) -> Npu:
    """The NPU of that name, or ExportError with the names there are."""
    if name not in NPUS:
        raise ExportError("NPU", "unknown", expected=" | ".join(NPUS), got=name)
    return NPUS[name]


def vela_path() -> Path:
    """Vela beside this Python or on the path.

    Raises:
        ExportError: it is not installed.
    """
    beside = Path(sys.executable).with_name("vela")
    found = beside if beside.exists() else shutil.which("vela")
    if found is None:
        raise ExportError("Vela", "is not installed", next_step="pip install 'tinyscene[npu]'", missing=True)
    return Path(found)


def estimate(tflite: bytes, npu: Npu) -> Estimate:
    """Compile an int8 TFLite file for ``npu``.

    Raises:
        ExportError: Vela is missing, or refuses the file.
    """
    with tempfile.TemporaryDirectory(prefix="tinyscene-vela-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(tflite)
        printed = _run_vela(folder, npu)
        summary = next(folder.glob("*_summary_*.csv"), None)
        if summary is None:
            raise ExportError(f"Vela for {npu.name}", "left no summary", got=last_line(printed))
        with summary.open(newline="") as file:
            figures = next(csv.DictReader(file))
    ops = {place: int(count) for place, count in _OPERATORS.findall(printed)}
    kibibytes = {kind: float(figures[f"{kind}_memory_used"]) for kind in _MEMORIES}
    return Estimate(
        npu=npu.name,
        ops_on_npu=ops.get("NPU", 0),
        ops_on_cpu=ops.get("CPU", 0),
        refused=_refused(printed),
        cycles=round(float(figures["cycles_total"])),
        milliseconds=1000 * float(figures["inference_time"]),
        sram_bytes=round(1024 * kibibytes["sram"]),
        flash_bytes=round(1024 * sum(kibibytes[kind] for kind in _MEMORIES if kind != "sram")),
        macs=int(figures["nn_macs"]),
    )


def estimate_all(tflite: bytes, names: Iterable[str], on_npu: Callable[[str], None] | None = None) -> Estimates:
    """An estimate for each NPU of ``names``; where there is none, the reason.

    Raises:
        ExportError: unknown NPU.
    """
    rows: list[Estimate] = []
    left_out: dict[str, str] = {}
    for npu in [npu_named(name) for name in names]:
        if on_npu:
            on_npu(npu.name)
        try:
            rows.append(estimate(tflite, npu))
        except ExportError as problem:
            left_out[npu.name] = str(problem)
    return Estimates(tuple(rows), left_out)


def _run_vela(folder: Path, npu: Npu) -> str:
    command = [
        *(str(vela_path()), "model.tflite", "--output-dir", "."),
        *("--accelerator-config", npu.name, "--config", "Arm/vela.ini"),
        *("--system-config", npu.system_config, "--memory-mode", npu.memory_mode),
    ]
    failure = Failure(f"Vela for {npu.name}", "refuses the file")
    done = run_program(command, failure, folder=folder, timeout_seconds=VELA_TIMEOUT_SECONDS)
    return done.stdout + done.stderr


def _refused(printed: str) -> tuple[str, ...]:
    """Each op that Vela leaves to the CPU, with its first reason."""
    found = _REFUSED.finditer(printed)
    return tuple(f"{m['op']} '{m['output']}': {m['why'].strip().removeprefix('Reason: ')}" for m in found)
