"""The serial harness on an emulated board, connected to a pseudo-terminal that any serial program can open.

One instruction takes one nanosecond on the emulated board, so that the runner's microseconds are thousands of
instructions. Refuses machines without a serial port in :data:`SERIAL_PORTS`.
"""

from __future__ import annotations

import re
import select
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tinyscene.runtime.processes import started

from ..build.seal import seal
from ..build.targets import C_FLAGS, Target
from ..build.tools import emulator_command, run_tool
from ..emit.constant_block import ROUNDING_MACRO
from ..errors import FirmwareError
from .serial_program import C_FOLDER, SerialProgram

START_UP_SECONDS = 20.0
_PTY = re.compile(r"char device redirected to (\S+)")


@dataclass(frozen=True)
class SerialPort:
    """Addresses of the registers, and the clock of UART and counter."""

    uart: int
    fpgaio: int
    clock_hz: int


_MPS2 = SerialPort(0x40004000, 0x40028000, 25_000_000)
SERIAL_PORTS = {
    "cortex-m0plus": _MPS2,
    "cortex-m3": _MPS2,
    "cortex-m4": _MPS2,
    "cortex-m7": _MPS2,
    "cortex-m33": SerialPort(0x50200000, 0x50302000, 20_000_000),
    "cortex-m55": SerialPort(0x59303000, 0x59302000, 32_000_000),
}


def build_serial(program: SerialProgram, target: Target, folder: Path) -> Path:
    """Build the image of a network with the protocol; write sources and image to ``folder``.

    Raises:
        FirmwareError: the target's serial port is unknown, the network does not fit, or a tool is missing.
    """
    if target.name not in SERIAL_PORTS:
        raise FirmwareError(
            f"serial port of {target.name}", "unknown", expected=" or ".join(SERIAL_PORTS), got=target.name
        )
    emitted = program.emitted
    target.refuse_unless_fits(program.graph.name, emitted.constant_bytes, emitted.plan.arena_bytes)
    port = SERIAL_PORTS[target.name]
    program.write(folder)
    (folder / "board.c").write_text((C_FOLDER / "boards" / "mps.c").read_text())
    sources = sorted(folder.glob("*.c"))
    sources += [path for port_folder in target.port_folders for path in sorted(port_folder.glob("*.c"))]
    includes = [f"-I{path}" for path in (folder, *target.port_folders, target.port_folders[0].parent)]
    macros = [
        f"-DBOARD_UART={port.uart:#x}u", f"-DBOARD_FPGAIO={port.fpgaio:#x}u", f"-DBOARD_CLOCK_HZ={port.clock_hz}u",
        *([f"-D{ROUNDING_MACRO}"] if program.rounding == "single" else []),
    ]  # fmt: skip
    image = folder / "serial.elf"
    flags = [*C_FLAGS, *target.compile_flags, *target.link_flags, *includes, *macros]
    run_tool([target.compiler, *flags, *map(str, sources), "-lm", "-o", str(image)], target)
    seal(image, target)
    return image


class SerialBoard:
    """An emulated board that runs an image, with its serial port at ``path``, a pseudo-terminal. A context manager.

    Args:
        image: from :func:`build_serial`.
        target: the machine it was built for.

    Raises:
        FirmwareError: the emulator is missing or does not start.
    """

    def __init__(self, image: Path, target: Target) -> None:
        emulator = target.emulator
        if emulator is None:
            raise FirmwareError(f"machine for {target.name}", "not emulated", next_step="choose another --target")
        options = ("-icount", "shift=0", "-serial", "pty", "-semihosting", "-kernel", str(image))
        self._stack = ExitStack()
        self._process = self._stack.enter_context(started([*emulator_command(emulator), *options], one_stream=True))
        try:
            self.path = self._pty(target)
        except BaseException:
            self.close()
            raise

    def wait(self) -> int:
        """Wait until the emulator ends by itself; return its exit code."""
        return self._process.wait()

    def close(self) -> None:
        """Stop the emulator."""
        self._stack.close()

    def __enter__(self) -> SerialBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _pty(self, target: Target) -> str:
        """The name that QEMU prints when it has opened the pseudo-terminal."""
        stream, deadline, output = self._process.stdout, time.monotonic() + START_UP_SECONDS, ""
        while stream is not None and time.monotonic() < deadline:
            if not select.select([stream], [], [], 0.1)[0]:
                continue
            line = stream.readline()
            output += line
            if (match := _PTY.search(line)) is not None:
                return match[1]
            if not line:
                break
        raise FirmwareError(f"emulating {target.name}", "no pseudo-terminal", got=output or "no message")
