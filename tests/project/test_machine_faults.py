"""Commands on a machine that fails: one line that names the cause, exit code 2, nothing half written. The matrix first.

Streams are closed by the shell; everything else fails by ``tests/faults/inject.c``, so that the tests need no special
disk and no other user. The commands in ``FAST`` run in the normal suite, the others with the slow tests.
"""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.injection import CHANGES, READ, NotAvailableError, Outcome, Place, Plan, run
from tests.training.layout import write_layout
from tinyscene import command_line
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.system_errors import KINDS

COMMANDS = {  # words; WORK is the folder to write to
    "version": "--version",
    "check": "check BUNDLE --out WORK/check.json",
    "inspect": "inspect BUNDLE --svg WORK/net.svg",
    "run": "run BUNDLE CLIP",
    "data check": "data check DATA",
    "bench": "bench BUNDLE --seconds 0.2 --out WORK/bench.json",
    "import": "import STUDENT --out WORK/imported.pt",
    "verify": "verify BUNDLE --targets numpy-single --markdown WORK/verify.md",
    "eval": "eval BUNDLE --data DATA --out WORK/eval.json",
    "firmware": "firmware BUNDLE --target host --out WORK/firmware",
    "firmware export": "firmware export BUNDLE --as makefile --out WORK/product",
    "data synth": "data synth --locations 4 --clips 1 --out WORK/synth",
    "export": "export STUDENT --ptq DATA/audio --clips 4 --out WORK/bundle",
    "train": "train RECIPE --data DATA --out WORK/run",
}
FAST = ("check",)  # forked, without starting Python again


@dataclass(frozen=True)
class Fault:
    """Calls on paths below ``where`` that fail from the first one on, and the words that name the cause."""

    where: str
    error: int
    calls: tuple[str, ...] = CHANGES

    @property
    def words(self) -> str:
        return KINDS[self.error].what


FAULTS = {
    "full disk": Fault("WORK", errno.ENOSPC),
    "quota": Fault("WORK", errno.EDQUOT),
    "file size limit": Fault("WORK", errno.EFBIG, ("write",)),
    "read-only disk": Fault("WORK", errno.EROFS),
    "no permission to write": Fault("WORK", errno.EACCES),
    "failing disk": Fault("WORK", errno.EIO, ("write", "fsync")),
    "no descriptor left for results": Fault("WORK", errno.EMFILE, ("open",)),
    "full folder for temporary files": Fault("TMP", errno.ENOSPC),
    "no permission to read": Fault("INPUTS", errno.EACCES, (READ,)),
    "inputs cannot be read": Fault("INPUTS", errno.EIO, (READ,)),
    "no descriptor left for inputs": Fault("INPUTS", errno.EMFILE, (READ,)),
}
WITHOUT_RESULT = {"version", "run", "data check"}  # write no file
STREAMS = {  # redirections of the shell, whether results can be printed, and words on standard error
    "<&-": (True, ""),
    "2>&-": (True, ""),
    "2>/dev/full": (True, ""),
    ">/dev/full": (False, "error: standard output: no space left on the disk"),
    ">&-": (False, "error: standard output: is closed"),
    "<&- >&- 2>&-": (False, ""),
}
ENVIRONMENTS = {
    "no HOME": {"HOME": None},
    "HOME that does not exist": {"HOME": "/nowhere"},
    "TMPDIR that does not exist": {"TMPDIR": "/nowhere"},
    "ASCII": {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


def slow_but(*fast: str) -> list[object]:
    """All commands; those that are not named run with the slow tests."""
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in COMMANDS]


@pytest.fixture(scope="module")
def inputs(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths by the words that stand for them."""
    from tests.faults.commands import RECIPE
    from tinyscene.runtime.spec import preset
    from tinyscene.training.models.build import build_model
    from tinyscene.training.models.checkpoint import save_model
    from tinyscene.training.models.config import named_config

    folder = tmp_path_factory.mktemp("inputs")
    scenes = tiny_bundle.graph.labels[:3]
    data = write_layout(folder / "data", scenes, places=2, clips=1)
    (folder / "recipe.yaml").write_text(RECIPE)
    config = named_config("cpm23-8", n_classes=len(scenes), padding="same")
    save_model(folder / "student.pt", build_model(config).eval(), config, preset("cpm23"), scenes, {})
    (folder / "bundle").symlink_to(tiny_bundle.path)
    clip = next((data / "audio").iterdir())
    return {
        "INPUTS": folder,
        "BUNDLE": folder / "bundle",
        "STUDENT": folder / "student.pt",
        "DATA": data,
        "CLIP": clip,
        "RECIPE": folder / "recipe.yaml",
    }


def words_of(command: str, inputs: dict[str, Path], work: Path) -> list[str]:
    words = COMMANDS[command].replace("WORK", str(work))
    for name, path in inputs.items():
        words = words.replace(name, str(path))
    return [sys.executable, "-m", "tinyscene", *words.split()]


def failing(command: str, fault: Fault, inputs: dict[str, Path], work: Path) -> Outcome:
    words = words_of(command, inputs, work)

    def start() -> int:
        if command in FAST:
            return command_line.main(words[3:])
        os.execv(words[0], words)

    temporary = work.parent / "tmp"
    temporary.mkdir()
    beginning = str({"WORK": work, "TMP": temporary, "INPUTS": inputs["INPUTS"]}[fault.where])
    plan = Plan(beginning, fault.calls, first=1, error=fault.error, persistent=True)
    try:
        return run(start, plan, Place(work.parent, {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(temporary)}))
    except NotAvailableError as problem:
        pytest.skip(f"no seccomp filter with a supervisor: {problem}")


@pytest.mark.needs_tool("cc")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", slow_but("check"))
def test_the_cause_is_named_in_one_line(command: str, fault: str, inputs: dict[str, Path], tmp_path: Path) -> None:
    work, planned = tmp_path / "work", FAULTS[fault]
    work.mkdir()
    outcome = failing(command, planned, inputs, work)
    if not any(call.failed for call in outcome.calls):
        assert command in WITHOUT_RESULT or planned.where != "WORK", outcome
        return
    if planned.where == "TMP" and outcome.code == 0:
        return  # Python took another folder for temporary files
    lines = [line for line in outcome.err.splitlines() if not line.startswith("note: ")]
    assert outcome.code == 2, outcome
    assert len(lines) == 1, lines
    assert planned.words in lines[0]
    assert "defect" not in lines[0]
    assert "again with" not in lines[0], "advice for a damaged file"
    if planned.where == "WORK" and command != "train":
        assert not [path for path in work.rglob("*") if path.is_file() and not path.name.endswith(".part")]


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("command", slow_but("version"))
def test_closed_and_full_streams(command: str, streams: str, inputs: dict[str, Path], tmp_path: Path) -> None:
    printable, message = STREAMS[streams]
    done = subprocess.run(
        f"{shlex.join(words_of(command, inputs, tmp_path))} {streams}",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (0 if printable else 2), done.stderr
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]  # of what was read before
    assert "".join(lines).startswith(message)


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("command", slow_but("version"))
def test_environments(command: str, name: str, inputs: dict[str, Path], tmp_path: Path) -> None:
    environment = {**os.environ, **ENVIRONMENTS[name]}
    done = subprocess.run(
        words_of(command, inputs, tmp_path),
        capture_output=True,
        env={key: value for key, value in environment.items() if value is not None},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    if name == "ASCII":
        assert done.stdout.isascii()


PATHS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "folder for a file": ("check BUNDLE --out WORK/out", lambda p: (p / "out").mkdir(), "is a folder"),
    "file for a folder": ("check BUNDLE --out WORK/out/x.json", lambda p: (p / "out").touch(), "not a folder|no such"),
    "long name": (f"check BUNDLE --out WORK/{'x' * 300}", lambda p: None, "the name is too long"),
    "folder for audio": ("run BUNDLE WORK", lambda p: None, "not a file"),
    "links in a circle": ("check WORK/l.onnx", lambda p: (p / "l.onnx").symlink_to("l.onnx"), "no such|one another"),
}


@pytest.mark.parametrize("kind", PATHS)
def test_wrong_kinds_of_paths(
    kind: str, inputs: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words, prepare, expected = PATHS[kind]
    prepare(tmp_path)
    words = words.replace("BUNDLE", str(inputs["BUNDLE"])).replace("WORK", str(tmp_path))
    assert command_line.main(words.split()) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert any(each in line for each in expected.split("|")), line
    assert "defect" not in line
