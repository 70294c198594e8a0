"""The machines firmware is built for: compiler, flags, memory, and the emulator that stands in for the board.

One frozen record each. A new CPU is a record here, a linker script in ports/, and its inner loops in c/.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import FirmwareError

PORT_FOLDER = Path(__file__).resolve().parent / "ports"

C_FLAGS = (
    "-std=c99",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wconversion",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-ffp-contract=off",  # a fused multiply-add would round once where the contract rounds twice
    "-ffunction-sections",
    "-fdata-sections",
)
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover", "-g")


@dataclass(frozen=True)
class Emulator:
    """A QEMU system emulator. ``instructions_per_clock`` is for -icount shift=0, see ports/cortex_m/counter.c."""

    command: str
    package: str
    machine: str
    instructions_per_clock: float


@dataclass(frozen=True)
class Target:
    """Where an image runs. Sizes in bytes; zero means that the machine sets no limit worth checking."""

    name: str
    title: str
    compiler: str
    size_tool: str
    package: str  # Debian packages of the two
    flags: tuple[str, ...]  # of the CPU, for compiling and linking
    verify_flags: tuple[str, ...]  # added where every byte is compared
    link_flags: tuple[str, ...]
    port: str  # folder below ports/
    flash_bytes: int = 0
    ram_bytes: int = 0
    stack_bytes: int = 0  # what the linker script sets aside
    emulator: Emulator | None = None

    @property
    def port_folder(self) -> Path:
        return PORT_FOLDER / self.port

    def refuse_unless_fits(self, model: str, constant_bytes: int, arena_bytes: int) -> None:
        """Raise FirmwareError when constants or arena alone are more than the machine has."""
        for what, needed, there in (
            ("constants", constant_bytes, self.flash_bytes),
            ("arena and stack", arena_bytes + self.stack_bytes, self.ram_bytes),
        ):
            if there and needed > there:
                raise FirmwareError(
                    f"graph '{model}' on {self.name}",
                    f"{what} do not fit into memory",
                    expected=f"at most {there:,} B",
                    got=f"{needed:,} B",
                    next_step="make the model or its input smaller, or choose another --target",
                )


HOST = Target(
    name="host",
    title="this machine",
    compiler="gcc",
    size_tool="size",
    package="gcc libc6-dev binutils",
    flags=(),
    verify_flags=SANITIZERS,
    link_flags=(),
    port="host",
)

CORTEX_M4 = Target(
    name="cortex-m4",
    title="Cortex-M4F, QEMU mps2-an386",
    compiler="arm-none-eabi-gcc",
    size_tool="arm-none-eabi-size",
    package="gcc-arm-none-eabi libnewlib-arm-none-eabi",
    flags=("-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
    verify_flags=(),
    link_flags=("-nostartfiles", "-Tmps2_an386.ld", "-Wl,--gc-sections", "-Wl,--fatal-warnings"),
    port="cortex_m",
    flash_bytes=4 << 20,
    ram_bytes=4 << 20,
    stack_bytes=16 << 10,
    emulator=Emulator("qemu-system-arm", "qemu-system-arm", "mps2-an386", 40.0),
)

TARGETS = {target.name: target for target in (HOST, CORTEX_M4)}


def target_named(name: str) -> Target:
    """The target of that name, or FirmwareError listing the names there are."""
    if name not in TARGETS:
        raise FirmwareError("target", "unknown", expected=" or ".join(TARGETS), got=name)
    return TARGETS[name]
