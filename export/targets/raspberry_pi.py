"""An emulated Raspberry Pi: ``tinyscene.runtime`` and the published arm64 wheels on Debian arm64 under QEMU.

The system is unpacked from packages once, into the user's cache; nothing is installed on this machine. The kernel is
this machine's, only user programs are emulated, so /proc/cpuinfo is replaced by that of the processor and /sys is
mounted: without it LiteRT silently runs without XNNPACK, with this machine's cpuinfo it crashes. QEMU's CPU ``max``
computes wrong results in QEMU 7.2 and is not offered. Needs root to change the root folder; refuses with the command
that installs a missing tool.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.cache import ENVIRONMENT_COMPLETE, cache_folder, lock_of, locked
from tinyscene.runtime.engines import ModelFiles
from tinyscene.runtime.file_names import ONNX_MODEL, TFLITE_MODEL
from tinyscene.runtime.files import replaced_folder
from tinyscene.runtime.temporaries import temporary_folder
from tinyscene.runtime.vectors import joined

from ..errors import ExportError
from .subprocesses import Failure, run_program
from .worker import IMPORTS, JOB, JobInput, Worker
from .workers.records import EngineRecord

WHERE = "emulated Raspberry Pi"  # in messages
SUITE = "bookworm"
SYSTEM_PACKAGES = ("python3", "libstdc++6")  # of Debian arm64
WHEELS = ("numpy==2.4.6", "ai-edge-litert==2.3.0", "onnxruntime==1.31.1", "soundfile==0.14.0", "soxr==1.1.0")
PLATFORMS = tuple(f"manylinux{tag}_aarch64" for tag in ("2014", "_2_17", "_2_26", "_2_27", "_2_28"))
EMULATOR = "qemu-aarch64-static"
TOOLS = {"mmdebstrap": "mmdebstrap", EMULATOR: "qemu-user-static", "unshare": "util-linux", "chroot": "coreutils"}
TIMEOUT_SECONDS = 1800
MODEL_OF = {"ort": ONNX_MODEL, "litert": TFLITE_MODEL, "litert-reference": TFLITE_MODEL}


@dataclass(frozen=True)
class Processor:
    """A Raspberry Pi's processor: QEMU's name, the board, and the CPU part number in /proc/cpuinfo."""

    name: str
    board: str
    part: str

    def cpuinfo(self) -> str:
        lines = (
            "processor\t: 0", "BogoMIPS\t: 108.00", "Features\t: fp asimd evtstrm crc32 cpuid",
            "CPU implementer\t: 0x41", "CPU architecture: 8", "CPU variant\t: 0x0",
            f"CPU part\t: {self.part}", "CPU revision\t: 3", "", "",
        )  # fmt: skip
        return "\n".join(lines)


PROCESSORS = {
    "pi3": Processor("cortex-a53", "Raspberry Pi 3", "0xd03"),
    "pi4": Processor("cortex-a72", "Raspberry Pi 4", "0xd08"),
}


class PiEngine:
    """One of the runtime's engines on the emulated Pi (see :class:`tinyscene.runtime.engines.Engine`).

    Args:
        files: the model; ``outputs`` returns the outputs of its file.
        processor: of :data:`PROCESSORS`.
        engine: ``litert``, ``litert-reference`` or ``ort``.

    Raises:
        ExportError: a tool is missing, this user is not root, or the system cannot be unpacked.
    """

    def __init__(self, files: ModelFiles, processor: Processor, engine: str) -> None:
        self._files, self._processor, self._engine = files, processor, engine
        self.name = f"{next(k for k, p in PROCESSORS.items() if p is processor)}-{engine}"
        self.rounding: Rounding = "double" if engine == "litert-reference" else "single"
        self.notes: tuple[str, ...] = ()
        python = EmulatedPython(processor)
        self._worker = Worker("engine", python, EngineRecord, Failure(self.name), TIMEOUT_SECONDS)
        pi_root()

    def outputs(self, codes: I8) -> dict[str, I8]:
        """Every output of the file by name, int8 (batch, ...)."""
        model = MODEL_OF[self._engine]
        files = {model: self._files.file(model)}
        output = self._worker.run(JobInput((self._engine,), self._files.graph, codes, files))
        record = output.record
        version = f"{record.package} {record.version} on {record.machine}, {self._processor.name}"
        self.notes = (version, *record.notes)
        return output.arrays

    def output_codes(self, codes: I8) -> I8:
        """The graph's outputs alone, int8 (batch, ...)."""
        return joined(self._files.graph, self._files.graph.outputs, self.outputs(codes))


@dataclass(frozen=True)
class EmulatedPython:
    """The Python of the arm64 system, as the interpreter of a worker."""

    processor: Processor

    def run(self, words: Sequence[str], folder: Path, failure: Failure, timeout_seconds: float) -> None:
        module, *arguments = words
        run_on_pi(
            ["/usr/bin/python3", "-P", "-m", module, f"/mnt/worker/{JOB}", *arguments],
            self.processor,
            {"worker": folder},
            python_path=f"/mnt/worker/{IMPORTS}:/usr/lib/wheels",
            where=failure.where,
            timeout_seconds=timeout_seconds,
        )


def run_on_pi(
    words: Sequence[str],
    processor: Processor,
    folders: Mapping[str, Path],
    *,
    python_path: str,
    where: str,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> str:
    """Run a program of the arm64 system and return what it printed.

    Args:
        folders: folders of this machine by their names below /mnt.
        where: the program's name in messages.

    Raises:
        ExportError: the system is not available, or the program failed.
    """
    root = shlex.quote(str(pi_root()))
    with temporary_folder("cpuinfo") as scratch:
        cpuinfo = scratch / "cpuinfo"
        cpuinfo.write_text(processor.cpuinfo())
        mounts = "\n".join(
            f"mkdir -p {root}/mnt/{name}\nmount --bind {shlex.quote(str(folder))} {root}/mnt/{name}"
            for name, folder in folders.items()
        )
        program = shlex.join([f"/usr/bin/{EMULATOR}", *words])
        script = _SCRIPT.format(root=root, mounts=mounts, cpuinfo=shlex.quote(str(cpuinfo)), program=program)
        variables = {"QEMU_CPU": processor.name, "PYTHONPATH": python_path, "LC_ALL": "C.UTF-8"}
        done = run_program(
            ["unshare", "--mount", "bash", "-euc", script],
            Failure(where),
            environment={"PATH": os.environ["PATH"], **variables},
            timeout_seconds=timeout_seconds,
        )
        return done.stdout


# Mounts are in a name space of their own and end with it. Runs share the root folder and leave its files unchanged:
# everything else is mounted below /mnt.
_SCRIPT = """
mount -t tmpfs none {root}/mnt
{mounts}
mount --bind /proc {root}/proc
mount --rbind /sys {root}/sys
mount --bind {cpuinfo} {root}/proc/cpuinfo
exec chroot {root} {program}
"""


def pi_root() -> Path:
    """The unpacked arm64 system, created on first use (about 90 MB of packages and wheels).

    Raises:
        ExportError: a tool is missing, this user is not root, or packages cannot be downloaded.
    """
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise _missing(f"{tool} is not installed", f"apt-get install {package}")
    if os.geteuid() != 0:
        raise _missing("changing the root needs root", "use sudo")
    emulator = shutil.which(EMULATOR)
    assert emulator is not None
    recipe = repr((SUITE, SYSTEM_PACKAGES, WHEELS, Path(emulator).stat().st_size))
    root = cache_folder() / f"raspberry-pi-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if (root / ENVIRONMENT_COMPLETE).exists():
        return root
    with locked(lock_of(root)):  # a second target must not replace a system that the first one runs
        if not (root / ENVIRONMENT_COMPLETE).exists():
            with replaced_folder(root) as unfinished:
                _unpack(unfinished)
                shutil.copy(emulator, unfinished / "usr/bin")
                (unfinished / ENVIRONMENT_COMPLETE).touch()
    return root


def _unpack(root: Path) -> None:
    """Unpack Debian's packages without running their scripts, and the wheels."""
    included = f"--include={','.join(SYSTEM_PACKAGES)}"
    _require(
        ["mmdebstrap", "--quiet", "--variant=extract", "--architectures=arm64", included, SUITE, str(root)],
        "Debian's arm64 packages",
    )
    for folder in ("proc", "sys", "mnt", "usr/lib/wheels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    with temporary_folder("wheels") as wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "-d", str(wheels), *pip_options(), *WHEELS]
        _require(command, "the arm64 wheels")
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(root / "usr/lib/wheels")


def pip_options() -> list[str]:
    """pip's options that select wheels for the Python of the arm64 system."""
    tags = [word for tag in PLATFORMS for word in ("--platform", tag)]
    abis = [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
    return ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp", *tags, *abis]


def _require(command: list[str], what: str) -> None:
    failure = Failure(WHERE, f"cannot download {what}", next_step="check the network", missing=True)
    run_program(command, failure)


def _missing(what: str, next_step: str) -> ExportError:
    return ExportError(WHERE, what, next_step=next_step, missing=True)
