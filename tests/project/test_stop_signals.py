"""Signals end a command with one line, the exit code of its number, and nothing left: no process, no temporary folder.

The moments of the slow tests are random; ``python -m tests.faults.signals`` sends more of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults import signals
from tests.processes import left_over

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "tinyscene"]


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


@pytest.mark.parametrize(
    ("number", "send", "line"),
    [(signal.SIGINT, os.killpg, "interrupted\n"), (signal.SIGTERM, os.kill, "terminated\n")],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_ends_with_one_line_and_leaves_nothing(number, send, line, tmp_path):
    """A terminal sends Ctrl-C to the whole group, with the worker processes; `kill` sends to one process."""
    (tmp_path / "incoming").mkdir()
    words = ["data", "synth", "--out", str(tmp_path / "scenes"), "--locations", "200"]
    process = subprocess.Popen(
        [*COMMAND, *words],
        env=_environment(TEST_RUN=str(tmp_path)),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("scenes.*.part/scenes/audio/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    send(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert errors == line
    assert [path.name for path in tmp_path.iterdir()] == ["incoming"]
    assert left_over(f"TEST_RUN={tmp_path}") == []


IMPORTED = {
    "in an import": "os.kill(os.getpid(), signal.SIGINT)",
    "without an exception, which C++ aborts": "try: os.kill(os.getpid(), signal.SIGINT)\nexcept: print('raised')",
    "swallowed": "try: os.kill(os.getpid(), signal.SIGINT)\nexcept: pass\nraise SystemExit(0)",
    "replaced": "try: os.kill(os.getpid(), signal.SIGINT)\nexcept: raise ImportError('typer')",
    "in a destructor": "class A:\n def __del__(self): os.kill(os.getpid(), signal.SIGINT)\nA()",
    "twice": (
        "try: os.kill(os.getpid(), signal.SIGINT)\nfinally: os.kill(os.getpid(), signal.SIGINT);"
        "time.sleep(1.1); os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"
    ),
}


@pytest.mark.parametrize("code", IMPORTED.values(), ids=IMPORTED)
def test_a_signal_while_packages_are_imported_ends_with_one_line(code, tmp_path):
    (tmp_path / "typer.py").write_text(f"import os, signal, time\n{code}\n")
    environment = _environment(PYTHONPATH=f"{tmp_path}:{ROOT}")
    ran = subprocess.run([*COMMAND, "--help"], env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "interrupted\n")


def test_a_signal_that_a_library_drops_ends_the_command_later():
    code = "try: os.kill(os.getpid(), signal.SIGTERM)\nexcept BaseException: time.sleep(60)"
    begin = "import os, signal, time\nfrom tinyscene import stop_signals as s\ns.PATIENCE_SECONDS = 1; s.install()"
    words = [sys.executable, "-c", f"{begin}\n{code}\n"]
    ran = subprocess.run(words, env=_environment(), capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (143, "", "terminated\n")


@pytest.mark.parametrize("again", [False, True])
def test_a_signal_while_a_native_library_waits_ends_the_command(again, tmp_path):
    """No Python handler runs in the main thread then; a repeated signal ends it at once."""
    lock = "import ctypes\nm = ctypes.create_string_buffer(64); lock = ctypes.CDLL(None).pthread_mutex_lock; lock(m)"
    (tmp_path / "typer.py").write_text(f"{lock}\nprint('ready', flush=True); lock(m)\n")
    program = (
        f"from tinyscene import __main__ as m, stop_signals as s; s.PATIENCE_SECONDS = {60 if again else 1}; m.main()"
    )
    words = [sys.executable, "-c", program, "--help"]
    environment = _environment(PYTHONPATH=f"{tmp_path}:{ROOT}")
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            process.terminate()
            if again:
                time.sleep(1.2)
                process.terminate()
            assert process.communicate(timeout=30) == ("", "terminated\n")
        finally:
            process.kill()
    assert process.returncode == 143


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    """As under nohup, and of a shell's background job without job control."""
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGHUP)\nraise SystemExit(7)\n")
    environment = _environment(PYTHONPATH=f"{tmp_path}:{ROOT}")
    nohup = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]
    assert subprocess.run([*nohup, *COMMAND, "--help"], env=environment, check=False).returncode == 7
    ran = subprocess.run([*COMMAND, "--help"], env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (129, "terminated\n")


def test_the_library_keeps_the_handlers_of_its_program():
    code = (
        "import signal; from tinyscene.command_line import main; main(['--help'])\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    subprocess.run([sys.executable, "-c", code], env=_environment(), capture_output=True, check=True)


@pytest.mark.slow
@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize("name", signals.COMMANDS)
def test_signals_at_random_moments_leave_nothing(name, capfd):
    words = ["--commands", name, "--count", "3", "--per-run", "3", "--signals", "SIGKILL,SIGTERM,SIGINT"]
    assert signals.main(words) == 0, capfd.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "export --ptq"])
def test_ctrl_c_while_packages_are_imported_shows_no_traceback(name, capfd):
    words = ["--commands", name, "--count", "20", "--per-run", "20", "--signals", "SIGINT", "--within", "2"]
    assert signals.main(words) == 0, capfd.readouterr()
