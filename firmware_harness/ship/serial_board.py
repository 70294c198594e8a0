"""The serial harness on an emulated board, connected to a pseudo-terminal that any serial program can open.

One instruction takes one nanosecond on the emulated board, so that the runner's microseconds are thousands of
instructions. Refuses machines without a serial port in :data:`SERIAL_PORTS`.
"""

from __future__ import annotations

import re
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..build.seal import seal
from ..build.targets import C_FLAGS, Target
from ..build.tools import emulator_command, run_tool
from ..errors import FirmwareError
from .product import C_FOLDER, Product

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
    "cortex-m4": _MPS2,
    "cortex-m7": _MPS2,
    "cortex-m33": SerialPort(0x50200000, 0x50302000, 20_000_000),
    "cortex-m55": SerialPort(0x59303000, 0x59302000, 32_000_000),
}


def build_serial(product: Product, target: Target, folder: Path) -> Path:
    """Build the image with the harness; write sources and image to ``folder``.

    Raises:
        FirmwareError: the target's serial port is unknown, the product does not fit, or a tool is missing.
    """
    if target.name not in SERIAL_PORTS:
        raise FirmwareError(
            f"serial port of {target.name}", "unknown", expected=" or ".join(SERIAL_PORTS), got=target.name
        )
    target.refuse_unless_fits(product.graph.name, product.constant_bytes, product.arena_bytes)
    port = SERIAL_PORTS[target.name]
    board = product.named((C_FOLDER / "boards" / "mps.c").read_text())
    texts = {f"{product.prefix}.c": product.source(), f"{product.prefix}.h": product.header(), "board.c": board}
    texts |= product.serial_sources()
    for name, text in texts.items():
        (folder / name).write_text(text)
    sources = [folder / name for name in texts if name.endswith(".c")]
    sources += [path for port_folder in target.port_folders for path in sorted(port_folder.glob("*.c"))]
    includes = [f"-I{path}" for path in (folder, *target.port_folders, target.port_folders[0].parent)]
    macros = [
        f"-DBOARD_UART={port.uart:#x}u", f"-DBOARD_FPGAIO={port.fpgaio:#x}u", f"-DBOARD_CLOCK_HZ={port.clock_hz}u",
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
        self._process = subprocess.Popen(
            [*emulator_command(emulator), *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
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
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

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
