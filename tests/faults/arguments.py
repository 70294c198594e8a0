"""Unusable values for every option and argument of every command: the message, and the files that are left.

``python -m tests.faults arguments --commands "check,run" --show``: each command of the table runs with valid words, one
of which is replaced by a value of its kind: numbers out of any range, texts that name nothing, and paths to what is no
such file. Afterwards the exit code is 0, 1 or 2; 2 with one line that begins with ``error:`` and blames neither
tinyscene nor a traceback; the inputs are unchanged and no temporary file is left. ``--show`` prints every line, so that
a person can judge whether the cause is the right one. Prints one row per command; exit code 1 for any fault.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import pkgutil
import random
import resource
import signal
import socket
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; the processes below are forked from this one

import typer

import tinyscene
from tests.firmware_harness.bundles import small_bundle
from tinyscene import command_line, stop_signals
from tinyscene.command_table import COMMANDS, Command

from . import commands

Limit = tuple[float, signal.Signals]  # seconds of wall clock, also on a busy machine, and what ends the command then
HANGING: Limit = (120.0, signal.SIGKILL)
MAKING_INPUTS: Limit = (900.0, signal.SIGKILL)
ENDLESS: dict[str, Limit] = {"firmware serial": (30.0, signal.SIGTERM)}  # commands that run until they are stopped
TERMINATED = 128 + signal.SIGTERM
MOST_BYTES = 8 << 30  # address space of a command
DEVICES = {"null": 3, "zero": 5, "full": 7}  # minor numbers, of major 1 on Linux
_CAPABILITY_VERSION_3, _DAC_OVERRIDE, _DAC_READ_SEARCH = 0x20080522, 1, 2  # linux/capability.h
LIBRARIES = ("ai_edge_litert.interpreter", "lightning", "onnx", "onnxruntime")
NUMBERS = ("nan", "inf", "-1", "0", "1e30", "-1e300", "99999999999999999999", "abc", "")
TEXTS = ("", "abc", "nan", "-1", "99999999999999999999", "\x1b[31m\n", "\udcff", "../..", "," * 20, "x" * 5000)
VALID: dict[str, dict[str, str]] = {  # values by the names of options and arguments
    "doctor": {},
    "demo": {"--out": "WORK/demo", "--data": "INPUTS/data", "--recipe": "INPUTS/recipe.yaml", "--quiet": ""},
    "data synth": {"--locations": "4", "--clips": "1", "--out": "WORK/synth"},
    "data cut": {"recordings": "INPUTS/recordings", "--out": "WORK/cut"},
    "data check": {"folder": "INPUTS/data"},
    "train compare": {"recipe": "INPUTS/recipe.yaml", "--data": "INPUTS/data", "--out": "WORK/run", "--seeds": "1"},
    "train devices": {"recipe": "INPUTS/recipe.yaml", "--data": "INPUTS/data", "--out": "WORK/run"},
    "train": {"recipe": "INPUTS/recipe.yaml", "--data": "INPUTS/data", "--out": "WORK/run"},
    "recipe dry-run": {"recipe": "INPUTS/recipe.yaml"},
    "recipe fit": {"--max-size": "64kB", "--out": "WORK/fit.yaml"},
    "teachers train": {"recipe": "INPUTS/recipe.yaml", "--data": "INPUTS/data", "--out": "WORK/run"},
    "teachers logits": {"recipe": "INPUTS/recipe.yaml", "--data": "INPUTS/data", "--out": "WORK/run"},
    "eval": {"model": "INPUTS/bundle", "--data": "INPUTS/data"},
    "import": {"checkpoint": "INPUTS/student.pt", "--out": "WORK/imported.pt"},
    "export": {
        "checkpoint": "INPUTS/student.pt",
        "--ptq": "INPUTS/data/audio",
        "--clips": "4",
        "--out": "WORK/bundle",
    },
    "check": {"model": "INPUTS/bundle"},
    "inspect": {"model": "INPUTS/bundle"},
    "verify": {"model": "INPUTS/bundle", "--targets": "numpy-single"},
    "quality": {"model": "INPUTS/bundle", "--recordings": "INPUTS/data/audio", "--clips": "4"},
    "npu": {"model": "INPUTS/bundle"},
    "run": {"model": "INPUTS/bundle", "clips": "INPUTS/clip.wav"},
    "bench compare": {"a": "INPUTS/bench.json", "b": "INPUTS/bench.json"},
    "bench": {"model": "INPUTS/bundle", "--seconds": "0.2"},
    "firmware export": {"model": "INPUTS/scenes", "--as": "makefile", "--out": "WORK/product"},
    "firmware serial": {"model": "INPUTS/scenes"},
    "firmware": {"model": "INPUTS/scenes", "--target": "host", "--out": "WORK/firmware"},
    "page": {"model": "INPUTS/scenes", "--out": "WORK/page.html"},
    "flash": {"image": "INPUTS/image.bin", "--chip": "stm32l4r5zitx", "--dry-run": ""},
}


@dataclass(frozen=True)
class Parameter:
    """One option or argument of a command."""

    name: str  # with its dashes, or the name of the argument
    kind: str  # of VALUES


@dataclass
class Tally:
    """Counts for one command, and one line per fault."""

    cases: int = 0
    accepted: int = 0
    faults: list[str] = field(default_factory=list)


def parameters(command: Command) -> Iterator[Parameter]:
    """The parameters of a command that take a value, from its own declaration."""
    found = typer.main.get_command(command_line._application(command))
    for word in command.name.split():
        found = found.commands[word]  # type: ignore[attr-defined]
    for each in found.params:
        annotation = str(each.type_descriptor.annotation)
        if "bool" in annotation:
            continue
        name = each.opts[0] if isinstance(each, typer.core.TyperOption) else str(each.name)
        number = "int'" in annotation or "float'" in annotation
        yield Parameter(name, "paths" if "Path" in annotation else "numbers" if number else "texts")


PATHS = (
    "WORK/missing", "WORK/missing/deeper/still", "WORK/folder", "WORK/empty", "WORK/unreadable", "WORK/locked/file",
    "WORK/text.json", "WORK/fifo.wav", "WORK/socket", "WORK/loop", "WORK/new\nline\x1b[31m.wav", "WORK/\udcff.wav",
    "WORK/zero", "WORK/full", "WORK/null", "", "-", "/", "OWN", "WORK/" + "x" * 300, "WORK/" + "d/" * 3000,
    "WORK/text.json/x", "INPUTS/clip.wav", "INPUTS/student.pt", "INPUTS/bundle", "INPUTS/bundle/manifest.json",
    "INPUTS/bundle/model.tflite", "INPUTS/recipe.yaml", "INPUTS/data",
)  # fmt: skip
VALUES = {"numbers": NUMBERS, "texts": TEXTS, "paths": PATHS}


def fresh(work: Path) -> None:
    """The unusable paths, below the folder to write to."""
    for path in sorted(work.rglob("*"), reverse=True):
        path.chmod(0o700, follow_symlinks=False) if not path.is_symlink() else None
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    work.mkdir(exist_ok=True)
    (work / "folder").mkdir()
    (work / "locked").mkdir(mode=0o555)
    (work / "empty").touch()
    (work / "unreadable").write_text("{}")
    (work / "unreadable").chmod(0)
    (work / "text.json").write_text('{"a": 1}')
    os.mkfifo(work / "fifo.wav")
    listener = socket.socket(socket.AF_UNIX)
    folder = os.getcwd()
    os.chdir(work)
    listener.bind("socket")
    os.chdir(folder)
    (work / "loop").symlink_to("loop")
    for name, minor in DEVICES.items():  # as root, a defect would remove those of the machine: it did
        if os.geteuid() == 0:
            os.mknod(work / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        else:
            (work / name).symlink_to(f"/dev/{name}")
    for name in ("new\nline\x1b[31m.wav", "\udcff.wav"):
        (work / name).write_bytes(b"RIFF")


def words_of(command: Command, parameter: Parameter, value: str, folder: Path) -> list[str]:
    """The command line with ``parameter`` replaced; arguments come first."""
    given = dict(VALID[command.name])
    own = next((path for name, path in given.items() if "INPUTS" in path and name != parameter.name), "INPUTS/bundle")
    given[parameter.name] = own if value == "OWN" else value
    arguments = [text for name, text in given.items() if not name.startswith("-")]
    options = [
        f"{name}={text}" if text or name == parameter.name else name for name, text in given.items() if name[0] == "-"
    ]
    paths = {"INPUTS": str(folder / "inputs"), "WORK": str(folder / "work")}
    words = [*command.name.split(), *options, "--", *arguments]
    for name, path in paths.items():
        words = [word.replace(name, path) for word in words]
    return words


def outcome(words: list[str], folder: Path, limit: Limit = HANGING) -> tuple[int, str]:
    """Exit code, negative for a signal, and standard error of a forked process."""
    with tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _child(words, folder, err.fileno())
        deadline = time.monotonic() + limit[0]
        ended, status = os.waitpid(child, os.WNOHANG)
        while not ended and time.monotonic() < deadline:
            time.sleep(0.01)
            ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            os.killpg(child, limit[1])
            _, status = os.waitpid(child, 0)
        err.seek(0)
        return os.waitstatus_to_exitcode(status), err.read().decode(errors="backslashreplace")


def _child(words: list[str], folder: Path, err: int) -> NoReturn:
    code = 70
    try:
        os.setsid()
        os.chdir(folder / "work")
        os.environ.update(HOME=str(folder / "home"), TMPDIR=str(folder / "tmp"), XDG_CACHE_HOME=str(folder / "home"))
        tempfile.tempdir = None  # of the parent
        null = os.open(os.devnull, os.O_RDWR)
        for target, descriptor in enumerate((null, null, err)):
            os.dup2(descriptor, target)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        _heed_permissions()
        stop_signals.install()  # as a process of its own does
        try:
            code = command_line.main(words)
        finally:
            stop_signals.finish()
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code & 0xFF)


def _heed_permissions() -> None:
    """Let the permissions of files count for root too, by giving up the capabilities that override them."""
    if os.geteuid() == 0:
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        data = (ctypes.c_uint32 * 6)()
        libc = ctypes.CDLL(None, use_errno=True)
        libc.capget(header, data)
        for word in (0, 1):  # effective and permitted
            data[word] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
        if libc.capset(header, data) != 0:
            raise OSError(ctypes.get_errno(), "capset")


def judged(command: Command, code: int, printed: str) -> str:
    """What is wrong with an outcome, or nothing."""
    if code == TERMINATED and command.name in ENDLESS:
        return ""
    if code == -signal.SIGKILL:
        return "hangs"
    if code not in (0, 1, 2):
        return f"exit code {code}: {printed.strip()[-300:]}"
    lines = [line for line in printed.splitlines() if line.strip() and not line.startswith("note: ")]
    if "Traceback" in printed or "defect of tinyscene" in printed:
        return lines[-1][:300]
    if code == 2 and (len(lines) != 1 or not lines[0].startswith("error: ")):
        return f"{len(lines)} lines: {' / '.join(lines)[:300]}"
    return ""


def examined(command: Command, folder: Path, options: argparse.Namespace) -> Tally:
    """All unusable values of one command, or a sample of them."""
    tally = Tally()
    before = commands.contents(folder / "inputs")
    rng = random.Random(f"{options.seed} {command.name}")
    for parameter in parameters(command):
        values = VALUES[parameter.kind] if parameter.kind in options.values.split(",") else ()
        for value in rng.sample(values, min(options.most or len(values), len(values))):
            fresh(folder / "work")
            words = words_of(command, parameter, value, folder)
            start = time.monotonic()
            code, printed = outcome(words, folder, ENDLESS.get(command.name, HANGING))
            seconds = time.monotonic() - start
            tally.cases += 1
            tally.accepted += code in (0, 1, TERMINATED)
            where = f"{command.name}: {parameter.name} {value[:60]!a}"
            faults = [judged(command, code, printed)]
            faults += [f"left {path}" for path in sorted(folder.rglob("*.tinyscene-*"))]
            if commands.contents(folder / "inputs") != before:
                faults.append("changed its inputs")
                before = commands.contents(folder / "inputs")
            tally.faults += [f"{where}: {fault}" for fault in faults if fault]
            if options.show:
                print(f"    {where} [{code}, {seconds:.1f} s]: {printed.strip()[:400]}", flush=True)
    return tally


def write_inputs(folder: Path) -> None:
    """What every command reads."""
    commands.write_inputs(folder)
    small_bundle(folder)
    for words in ("export IN/student.pt --ptq IN/data/audio --clips 4 --out IN/bundle",
                  "bench IN/bundle --seconds 0.2 --out IN/bench.json"):  # fmt: skip
        # In processes of their own: one that has started threads of PyTorch or LiteRT must not be forked later.
        code, printed = outcome(words.replace("IN/", f"{folder}/").split(), folder.parent, MAKING_INPUTS)
        if code:
            raise SystemExit(f"the inputs cannot be made: {printed}")
    clips = sorted((folder / "data" / "audio").iterdir())
    (folder / "clip.wav").write_bytes(clips[0].read_bytes())
    (folder / "image.bin").write_bytes(b"\0" * 1024)
    for scene, clip in zip(("bus", "park"), clips, strict=False):
        (folder / "recordings" / scene).mkdir(parents=True)
        for name in ("one.wav", "other.wav"):  # of which the test takes one
            (folder / "recordings" / scene / name).write_bytes(clip.read_bytes())


def _import_all() -> None:
    """Import what the commands use once, before the processes are forked: each would spend seconds on it."""
    for library in LIBRARIES:
        importlib.import_module(library)
    for module in pkgutil.walk_packages(tinyscene.__path__, "tinyscene."):
        if not module.name.endswith("__main__") and ".workers." not in module.name:
            importlib.import_module(module.name)


def main(arguments: Sequence[str]) -> int:
    """Run all commands, print the table and every fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults arguments", description=__doc__)
    parser.add_argument("--commands", default=",".join(VALID), help="comma-separated names: %(default)s")
    parser.add_argument("--values", default=",".join(VALUES), help="comma-separated kinds: %(default)s")
    parser.add_argument("--most", type=int, default=0, help="values per option, 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="selects the values where there are more than --most")
    parser.add_argument("--show", action="store_true", help="print what each case prints")
    options = parser.parse_args(arguments)
    table = {command.name: command for command in COMMANDS}
    faults = []
    with tempfile.TemporaryDirectory(prefix="tinyscene-faults-") as name:
        folder = Path(name)
        for each in ("tmp", "home", "work"):
            (folder / each).mkdir()
        write_inputs(folder / "inputs")
        _import_all()
        print("| command | cases | accepted | faults |\n|---|---:|---:|---:|", flush=True)
        for each in options.commands.split(","):
            tally = examined(table[each], folder, options)
            print(f"| {each} | {tally.cases} | {tally.accepted} | {len(tally.faults)} |", flush=True)
            print("".join(f"{line}\n" for line in tally.faults), end="", file=sys.stderr, flush=True)
            faults += tally.faults
    return 1 if faults else 0
