"""Estimates for Arm Ethos-U: which ops of a model run on the NPU, cycles and memory.

Vela, Arm's compiler, runs in a process of its own; it compiles and estimates, nothing is executed. Its cycles exclude
the ops that stay on the CPU, so every estimate includes the share of ops on the NPU. Refuses NPUs that are not in the
table and files that Vela cannot read. Imports nothing of PyTorch: ``tinyscene npu`` runs on a base install.

Source of names and memories: the configuration file of Vela (Arm/vela.ini).
"""

from __future__ import annotations

import csv
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.file_names import TFLITE_MODEL
from tinyscene.runtime.install_hint import install_hint
from tinyscene.runtime.temporaries import temporary_folder

from ..errors import ExportError
from .subprocesses import Failure, last_line, run_program

VELA_TIMEOUT_SECONDS = 600
_OPERATORS = re.compile(r"(CPU|NPU) operators = (\d+)")
_REFUSED = re.compile(r"Warning \(supported operators\) operator: (?P<op>\w+), ofm: '(?P<output>.*)'\n(?P<reason>.*)")
_MEMORIES = ("sram", "dram", "on_chip_flash", "off_chip_flash")


@dataclass(frozen=True)
class Npu:
    """An NPU and the system around it, named as Vela names them."""

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
    """Vela's estimate of one inference; ``refused`` lists each op left to the CPU with the reason."""

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
        """Share of the ops that run on the NPU, 0..1."""
        return self.ops_on_npu / max(1, self.ops_on_npu + self.ops_on_cpu)

    def to_json(self) -> dict[str, object]:
        """The record of ``tinyscene npu --json``."""
        return {**asdict(self), "npu_share": self.npu_share}


@dataclass(frozen=True)
class Estimates:
    """Estimates of several NPUs. ``left_out``: by name, why an NPU has no estimate, such as Vela not installed."""

    rows: tuple[Estimate, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


def npu_named(name: str) -> Npu:
    """The NPU of that name.

    Raises:
        ExportError: unknown name; the message lists the known ones.
    """
    if name not in NPUS:
        raise ExportError("NPU", "unknown", expected=" | ".join(NPUS), got=name)
    return NPUS[name]


def vela_path() -> Path:
    """Vela's program, next to this Python or on the path.

    Raises:
        ExportError: Vela is not installed.
    """
    beside_python = Path(sys.executable).with_name("vela")
    path = beside_python if beside_python.exists() else shutil.which("vela")
    if path is None:
        raise ExportError("Vela", "is not installed", next_step=install_hint("npu"), missing=True)
    return Path(path)


def estimate(tflite: bytes, npu: Npu) -> Estimate:
    """Compile an int8 TFLite file for ``npu``.

    Raises:
        ExportError: Vela is not installed, or refuses the file.
    """
    with temporary_folder("vela") as folder:
        (folder / TFLITE_MODEL).write_bytes(tflite)
        printed = _run_vela(folder, npu)
        summary = next(folder.glob("*_summary_*.csv"), None)
        if summary is None:
            raise ExportError(f"Vela for {npu.name}", "wrote no summary", got=last_line(printed))
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


def estimate_all(
    tflite: Callable[[], bytes], names: Iterable[str], on_npu: Callable[[str], None] | None = None
) -> Estimates:
    """An estimate for each NPU in ``names``, or the reason why there is none.

    Args:
        tflite: returns an int8 TFLite file, or raises TinysceneError where the network has no such form.
        on_npu: called with each NPU's name before it is estimated.

    Raises:
        ExportError: unknown NPU.
    """
    rows: list[Estimate] = []
    left_out: dict[str, str] = {}
    for npu in [npu_named(name) for name in names]:
        if on_npu:
            on_npu(npu.name)
        try:
            rows.append(estimate(tflite(), npu))
        except TinysceneError as problem:
            if not (problem.unsupported or isinstance(problem, ExportError)):
                raise
            left_out[npu.name] = str(problem)
    return Estimates(tuple(rows), left_out)


def _run_vela(folder: Path, npu: Npu) -> str:
    command = [
        *(str(vela_path()), TFLITE_MODEL, "--output-dir", "."),
        *("--accelerator-config", npu.name, "--config", "Arm/vela.ini"),
        *("--system-config", npu.system_config, "--memory-mode", npu.memory_mode),
    ]
    failure = Failure(f"Vela for {npu.name}", "refuses the file")
    done = run_program(command, failure, folder=folder, timeout_seconds=VELA_TIMEOUT_SECONDS)
    return done.stdout + done.stderr


def _refused(printed: str) -> tuple[str, ...]:
    """Each op that Vela leaves to the CPU, with the first reason that Vela prints for it."""
    matches = _REFUSED.finditer(printed)
    return tuple(f"{m['op']} '{m['output']}': {m['reason'].strip().removeprefix('Reason: ')}" for m in matches)
