"""An emulated Raspberry Pi: our runtime and the published arm64 wheels on a Debian arm64 system under QEMU.

The system is unpacked from packages once, into the user's cache; nothing is installed on this machine. Its kernel is
ours, only user programs are emulated, so /proc/cpuinfo is replaced by that of the processor and /sys is shown: without
it LiteRT quietly leaves XNNPACK, with this machine's cpuinfo it crashes. QEMU's CPU `max` computes wrongly in 7.2 and
is not offered. Needs root for the change of root; refuses with the command to install what is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.cache import ENVIRONMENT_COMPLETE, cache_folder
from tinyscene.runtime.engines import ModelFiles
from tinyscene.runtime.file_names import ONNX_MODEL, TFLITE_MODEL
from tinyscene.runtime.files import replaced_folder
from tinyscene.runtime.graph_io import write_graph

from ..errors import ExportError
from .subprocesses import WORKERS, last_line, place_runtime, run_program

WHERE = "emulated Raspberry Pi"  # in messages
SUITE = "bookworm"
SYSTEM_PACKAGES = ("python3", "libstdc++6")  # of Debian arm64
WHEELS = ("numpy==2.4.6", "ai-edge-litert==2.3.0", "onnxruntime==1.31.1", "soundfile==0.14.0", "soxr==1.1.0")
PLATFORMS = tuple(f"manylinux{tag}_aarch64" for tag in ("2014", "_2_17", "_2_26", "_2_27", "_2_28"))
EMULATOR = "qemu-aarch64-static"
TOOLS = {"mmdebstrap": "mmdebstrap", EMULATOR: "qemu-user-static", "unshare": "util-linux", "chroot": "coreutils"}
TIMEOUT_SECONDS = 1800
WORKER = WORKERS / "raspberry_pi.py"
MODEL_OF = {"ort": ONNX_MODEL, "litert": TFLITE_MODEL, "litert-reference": TFLITE_MODEL}


@dataclass(frozen=True)
class Processor:
    """A Raspberry Pi's processor: QEMU's name, and what Linux says of it (CPU part number)."""

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
    """One of our engines on the emulated Pi (see :class:`tinyscene.runtime.engines.Engine`).

    Args:
        files: the model; what the file shows is what ``outputs`` gives.
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
        pi_root()

    def outputs(self, codes: I8) -> dict[str, I8]:
        """Every output of the file by name, int8 (batch, ...)."""
        with tempfile.TemporaryDirectory(prefix="tinyscene-pi-") as name:
            folder = Path(name)
            model = MODEL_OF[self._engine]
            (folder / model).write_bytes(self._files.file(model))
            write_graph(folder, self._files.graph)
            np.save(folder / "inputs.npy", codes)
            said = json.loads(last_line(self._run(folder)))
            package = "onnxruntime" if self._engine == "ort" else "ai-edge-litert"
            version = f"{package} {said['versions'][package]} on {said['machine']}, {self._processor.name}"
            self.notes = (version, *said["notes"])
            with np.load(folder / "outputs.npz") as found:
                return {key: found[key] for key in found}

    def output_codes(self, codes: I8) -> I8:
        """The graph's output alone, int8 (batch, ...)."""
        return self.outputs(codes)[self._files.graph.output]

    def _run(self, folder: Path) -> str:
        shutil.copy(WORKER, folder)
        words = ["/usr/bin/python3", f"/mnt/model/{WORKER.name}", self._engine, "/mnt/model"]
        place_runtime(folder)
        shown = {"model": folder}
        return run_on_pi(words, self._processor, shown, python_path="/usr/lib/wheels:/mnt/model", where=self.name)


def run_on_pi(
    words: Sequence[str], processor: Processor, shown: Mapping[str, Path], *, python_path: str, where: str
) -> str:
    """What a program of the arm64 system printed.

    Args:
        shown: folders of this machine by the place they take below /mnt.
        where: what messages call the program.

    Raises:
        ExportError: the system cannot be had, or the program failed.
    """
    root = pi_root()
    with tempfile.NamedTemporaryFile("w", prefix="tinyscene-cpuinfo-") as cpuinfo:
        cpuinfo.write(processor.cpuinfo())
        cpuinfo.flush()
        folders = "\n".join(
            f"mkdir -p {root}/mnt/{name}\nmount --bind {shlex.quote(str(folder))} {root}/mnt/{name}"
            for name, folder in shown.items()
        )
        inside = shlex.join([f"/usr/bin/{EMULATOR}", *words])
        script = _SCRIPT.format(root=root, folders=folders, cpuinfo=cpuinfo.name, inside=inside)
        own = {"QEMU_CPU": processor.name, "PYTHONPATH": python_path, "LC_ALL": "C.UTF-8"}
        command, environment = ["unshare", "--mount", "bash", "-euc", script], {"PATH": os.environ["PATH"], **own}
        return run_program(command, where, environment=environment, timeout_seconds=TIMEOUT_SECONDS).stdout


# Mounts live in a name space of their own and vanish with it. The root is shared by runs, so its own files stay as they
# are: what is ours is mounted below /mnt.
_SCRIPT = """
mount -t tmpfs none {root}/mnt
{folders}
mount --bind /proc {root}/proc
mount --rbind /sys {root}/sys
mount --bind {cpuinfo} {root}/proc/cpuinfo
exec chroot {root} {inside}
"""


def pi_root() -> Path:
    """The unpacked arm64 system, made when it is not there yet (some 90 MB of packages and wheels).

    Raises:
        ExportError: a tool is missing, this user is not root, or packages cannot be had.
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
    with replaced_folder(root) as unfinished:
        _unpack(unfinished)
        shutil.copy(emulator, unfinished / "usr/bin")
        (unfinished / ENVIRONMENT_COMPLETE).touch()
    return root


def _unpack(root: Path) -> None:
    """Debian's packages without running their scripts, and the wheels, which are archives."""
    included = f"--include={','.join(SYSTEM_PACKAGES)}"
    _require(
        ["mmdebstrap", "--quiet", "--variant=extract", "--architectures=arm64", included, SUITE, str(root)],
        "Debian's arm64 packages",
    )
    for folder in ("proc", "sys", "mnt", "usr/lib/wheels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tinyscene-wheels-") as wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "-d", wheels, *pip_options(), *WHEELS]
        _require(command, "the arm64 wheels")
        for wheel in Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(root / "usr/lib/wheels")


def pip_options() -> list[str]:
    """pip's words for the Python of the arm64 system."""
    tags = [word for tag in PLATFORMS for word in ("--platform", tag)]
    abis = [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
    return ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp", *tags, *abis]


def _require(command: list[str], what: str) -> None:
    run_program(command, WHERE, f"cannot get {what}", next_step="check the network", missing=True)


def _missing(what: str, next_step: str) -> ExportError:
    return ExportError(WHERE, what, next_step=next_step, missing=True)
