"""The machines firmware is built for: compiler, flags, memory, and the emulator that stands in for the board.

One frozen record each. A new one is a record here and a linker script in ports/; docs/adding-a-target.md walks through
it. Refuses unknown names and models that are larger than the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import FirmwareError

PORT_FOLDER = Path(__file__).resolve().parents[1] / "ports"

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
class Toolchain:
    """GCC and binutils for one family of processors, and what all of the family share."""

    prefix: str  # of the tools' names
    package: str  # Debian packages of the tools and the C library
    ports: tuple[str, ...]  # folders below ports/, what is more general first
    flags: tuple[str, ...] = ()  # for compiling and linking
    link_flags: tuple[str, ...] = ()

    def tool(self, name: str) -> str:
        """The executable of a tool, such as ``gcc``, ``size`` or ``objcopy``."""
        return f"{self.prefix}{name}"


@dataclass(frozen=True)
class Emulator:
    """A QEMU system emulator. ``instructions_per_clock`` is that of the machine's counter under -icount shift=0."""

    command: str
    package: str
    machine: str
    instructions_per_clock: float
    options: tuple[str, ...] = ()

    def instructions(self, clocks: int) -> int:
        """What the machine's counter says, as instructions."""
        return round(clocks * self.instructions_per_clock)


@dataclass(frozen=True)
class Target:
    """Where an image runs. Sizes in bytes; zero means that the machine sets no limit worth checking."""

    name: str
    title: str
    cpu: str  # its kernel set: c99, dsp (Armv7E-M, Armv8-M with DSP) or mve (Helium)
    toolchain: Toolchain
    flags: tuple[str, ...] = ()  # of the processor, for compiling and linking
    oldest_gcc: int = 0  # the first major version that knows the processor
    verify_flags: tuple[str, ...] = ()  # added where every byte is compared
    linker_script: Path | None = None
    flash_bytes: int = 0  # both as the linker script has them
    ram_bytes: int = 0
    stack_bytes: int = 0  # set aside in RAM
    emulator: Emulator | None = None

    @property
    def soft_float(self) -> bool:
        """Whether float arithmetic is a library's: a front end takes tens of times as long."""
        return not {"-mfloat-abi=soft", "-mabi=ilp32"}.isdisjoint(self.flags)

    @property
    def compiler(self) -> str:
        return self.toolchain.tool("gcc")

    @property
    def port_folders(self) -> tuple[Path, ...]:
        """Where the sources lie that stand between a program and this machine."""
        return tuple(PORT_FOLDER / port for port in self.toolchain.ports)

    @property
    def compile_flags(self) -> tuple[str, ...]:
        return (*self.toolchain.flags, *self.flags)

    @property
    def link_flags(self) -> tuple[str, ...]:
        """What the linker is told beside :attr:`compile_flags`."""
        if self.linker_script is None:
            return self.toolchain.link_flags
        searched = [f"-L{folder}" for folder in self.port_folders]
        stack = f"-Wl,--defsym=STACK_BYTES={self.stack_bytes}"
        return (*self.toolchain.link_flags, stack, *searched, f"-T{self.linker_script}")

    def refuse_unless_fits(self, model: str, constant_bytes: int, arena_bytes: int) -> None:
        """Raise FirmwareError when constants or arena alone are more than the machine has."""
        for what, needed, there in (
            ("constants", constant_bytes, self.flash_bytes),
            ("arena and stack", arena_bytes + self.stack_bytes, self.ram_bytes),
        ):
            if there and needed > there:
                raise self.too_large(model, what, needed, there)

    def too_large(self, model: str, what: str, needed: int, there: int) -> FirmwareError:
        """The error for ``needed`` bytes where there are fewer."""
        return FirmwareError(
            f"graph '{model}' on {self.name}",
            f"{what} do not fit into memory",
            expected=f"at most {there:,} B",
            got=f"{needed:,} B",
            next_step="make the model or its input smaller, or choose another --target",
        )


BARE = ("-nostartfiles", "-Wl,--gc-sections", "-Wl,--fatal-warnings")
HOST_GCC = Toolchain("", "gcc libc6-dev binutils", ("host",), link_flags=("-Wl,--no-as-needed", "-lm"))
ARM_GCC = Toolchain(
    "arm-none-eabi-",
    "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    ("bare", "cortex_m"),
    flags=("-mthumb", "-masm-syntax-unified"),
    link_flags=BARE,
)
RISCV_GCC = Toolchain(
    "riscv64-unknown-elf-",
    "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    ("bare", "riscv"),
    flags=("--specs=picolibc.specs",),
    link_flags=BARE,
)


def _qemu_arm(machine: str, instructions_per_clock: float) -> Emulator:
    return Emulator("qemu-system-arm", "qemu-system-arm", machine, instructions_per_clock)


HOST = Target("host", "this machine", "c99", HOST_GCC, verify_flags=SANITIZERS)

# QEMU's only machine with an Armv6-M processor has too little RAM, and the larger Cortex-M3 runs its instructions too.
CORTEX_M0PLUS = Target(
    name="cortex-m0plus",
    title="Cortex-M0+ code on a Cortex-M3, QEMU mps2-an385",
    cpu="c99",
    toolchain=ARM_GCC,
    flags=("-mcpu=cortex-m0plus", "-mfloat-abi=soft"),
    linker_script=PORT_FOLDER / "cortex_m" / "mps2.ld",
    flash_bytes=4 << 20,
    ram_bytes=4 << 20,
    stack_bytes=16 << 10,
    emulator=_qemu_arm("mps2-an385", 40.0),
)

CORTEX_M4 = Target(
    name="cortex-m4",
    title="Cortex-M4F, QEMU mps2-an386",
    cpu="dsp",
    toolchain=ARM_GCC,
    flags=("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
    linker_script=PORT_FOLDER / "cortex_m" / "mps2.ld",
    flash_bytes=4 << 20,
    ram_bytes=4 << 20,
    stack_bytes=16 << 10,
    emulator=_qemu_arm("mps2-an386", 40.0),
)

CORTEX_M7 = Target(
    name="cortex-m7",
    title="Cortex-M7F, QEMU mps2-an500",
    cpu="dsp",
    toolchain=ARM_GCC,
    flags=("-mcpu=cortex-m7", "-mfpu=fpv5-d16", "-mfloat-abi=hard"),
    linker_script=PORT_FOLDER / "cortex_m" / "mps2.ld",
    flash_bytes=4 << 20,
    ram_bytes=4 << 20,
    stack_bytes=16 << 10,
    emulator=_qemu_arm("mps2-an500", 40.0),
)

CORTEX_M33 = Target(
    name="cortex-m33",
    title="Cortex-M33F, QEMU mps2-an505",
    cpu="dsp",
    toolchain=ARM_GCC,
    flags=("-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
    oldest_gcc=7,
    linker_script=PORT_FOLDER / "cortex_m" / "mps2_an505.ld",
    flash_bytes=4 << 20,
    ram_bytes=2 << 20,
    stack_bytes=16 << 10,
    emulator=_qemu_arm("mps2-an505", 50.0),
)

CORTEX_M55 = Target(
    name="cortex-m55",
    title="Cortex-M55 with Helium, QEMU mps3-an547",
    cpu="mve",
    toolchain=ARM_GCC,
    flags=("-mcpu=cortex-m55", "-mfloat-abi=hard"),
    oldest_gcc=11,
    linker_script=PORT_FOLDER / "cortex_m" / "mps3_an547.ld",
    flash_bytes=4 << 20,
    ram_bytes=2 << 20,
    stack_bytes=16 << 10,
    emulator=_qemu_arm("mps3-an547", 31.25),
)

RISCV32 = Target(
    name="riscv32",
    title="RV32IMAC, QEMU virt",
    cpu="c99",
    toolchain=RISCV_GCC,
    flags=("-march=rv32imac", "-mabi=ilp32"),
    oldest_gcc=11,
    linker_script=PORT_FOLDER / "riscv" / "virt.ld",
    flash_bytes=4 << 20,
    ram_bytes=4 << 20,
    stack_bytes=16 << 10,
    emulator=Emulator("qemu-system-riscv32", "qemu-system-misc", "virt", 1.0, ("-bios", "none")),
)

TARGETS = {
    target.name: target for target in (HOST, CORTEX_M0PLUS, CORTEX_M4, CORTEX_M7, CORTEX_M33, CORTEX_M55, RISCV32)
}


def target_named(name: str) -> Target:
    """The target of that name, or FirmwareError listing the names there are."""
    if name not in TARGETS:
        raise FirmwareError("target", "unknown", expected=" or ".join(TARGETS), got=name)
    return TARGETS[name]
