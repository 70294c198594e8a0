"""Targets, the machines that firmware is built for: compiler, flags, memory, and the emulator used instead of a board.

Each is one frozen record. A new target is a record here and a linker script in ports/, see docs/adding-a-target.md.
Refuses unknown names and models larger than the machine's memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import FirmwareError

PORT_FOLDER = Path(__file__).resolve().parents[1] / "ports"
RUNTIME_FOLDER = PORT_FOLDER.with_name("run") / "wasm"

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
    "-ffp-contract=off",  # a fused multiply-add rounds once where the numeric contract rounds twice
    "-ffunction-sections",
    "-fdata-sections",
)
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover", "-g")


@dataclass(frozen=True)
class Toolchain:
    """Compiler and binutils for one family of processors, and the flags common to the family."""

    prefix: str  # of the tools' names
    package: str  # Debian packages of the tools and the C library
    ports: tuple[str, ...]  # folders below ports/, the more general first
    flags: tuple[str, ...] = ()  # for compiling and linking
    link_flags: tuple[str, ...] = ()
    compiler: str = "gcc"
    linker: str = ""  # an executable that the package of the compiler does not have

    def tool(self, name: str) -> str:
        """Name of the executable of a tool such as ``gcc``, ``size`` or ``objcopy``."""
        return f"{self.prefix}{name}"


# Options under which an emulated program gets files from this machine and writes text into the file CONSOLE.
CONSOLE = "console.txt"
SEMIHOSTING = (
    *("-serial", "none", "-semihosting-config", "enable=on,target=native,chardev=console"),
    *("-chardev", f"file,id=console,path={CONSOLE}"),
)
SIMCALL = ("-semihosting", "-serial", f"file:{CONSOLE}")


@dataclass(frozen=True)
class Emulator:
    """A QEMU system emulator.

    ``instructions_per_clock``: instructions per clock of the machine's counter under ``-icount shift=0``. ``calls``:
    options of the programs' calls for files and text.
    """

    command: str
    package: str
    machine: str
    instructions_per_clock: float
    options: tuple[str, ...] = ()
    calls: tuple[str, ...] = SEMIHOSTING

    def instructions(self, clocks: int) -> int:
        """Convert clocks of the machine's counter to instructions."""
        return round(clocks * self.instructions_per_clock)


@dataclass(frozen=True)
class Runtime:
    """A WebAssembly runtime: a program that runs an image in the current folder and exits with its code.

    ``program`` is a script for Node.js (.mjs) or for this Python (.py), which needs ``tool`` or ``module``.
    """

    program: Path
    tool: str = ""  # an executable
    package: str = ""  # Debian package of the tool
    module: str = ""  # a Python package
    extra: str = ""  # of pyproject.toml, with that package


@dataclass(frozen=True)
class Target:
    """A machine that images run on. Sizes in bytes; zero: no limit is checked.

    ``emulator`` counts instructions, a ``runtime`` does not; with neither, images run on this machine.
    """

    name: str
    title: str
    cpu: str  # kernel set: c99, dsp (Armv7E-M, Armv8-M with DSP) or mve (Helium)
    toolchain: Toolchain
    flags: tuple[str, ...] = ()  # of the processor, for compiling and linking
    oldest_gcc: int = 0  # the first major version that supports the processor
    verify_flags: tuple[str, ...] = ()  # added to programs whose output is compared
    linker_script: Path | None = None
    flash_bytes: int = 0  # flash and RAM as in the linker script
    ram_bytes: int = 0
    stack_bytes: int = 0  # reserved in RAM
    emulator: Emulator | None = None
    runtime: Runtime | None = None
    family: str = ""  # of the cost model, see cycles/families.py; empty: cycles are not modelled

    @property
    def soft_float(self) -> bool:
        """Whether float arithmetic is done in software; a front end then takes tens of times as long."""
        return not {"-mfloat-abi=soft", "-mabi=ilp32", "-mabi=call0"}.isdisjoint(self.flags)

    @property
    def compiler(self) -> str:
        """Name of the compiler's executable."""
        return self.toolchain.tool(self.toolchain.compiler)

    @property
    def executables(self) -> tuple[str, ...]:
        """Executables that building and running need, the compiler first."""
        runs = (self.emulator.command if self.emulator else "", self.runtime.tool if self.runtime else "")
        return (self.compiler, *filter(None, (self.toolchain.linker, *runs)))

    @property
    def port_folders(self) -> tuple[Path, ...]:
        """Folders with start-up code, input and output for this machine."""
        return tuple(PORT_FOLDER / port for port in self.toolchain.ports)

    @property
    def compile_flags(self) -> tuple[str, ...]:
        """Flags of toolchain and processor, for compiling and linking."""
        return (*self.toolchain.flags, *self.flags)

    @property
    def link_flags(self) -> tuple[str, ...]:
        """Flags for linking, in addition to :attr:`compile_flags`."""
        if self.linker_script is None:
            return self.toolchain.link_flags
        search_folders = [f"-L{folder}" for folder in self.port_folders]
        stack = f"-Wl,--defsym=STACK_BYTES={self.stack_bytes}"
        return (*self.toolchain.link_flags, stack, *search_folders, f"-T{self.linker_script}")

    def refuse_unless_fits(self, model: str, constant_bytes: int, arena_bytes: int) -> None:
        """Raise FirmwareError when the constants exceed flash, or arena and stack exceed RAM."""
        for what, needed, available in (
            ("constants", constant_bytes, self.flash_bytes),
            ("arena and stack", arena_bytes + self.stack_bytes, self.ram_bytes),
        ):
            if available and needed > available:
                raise self.too_large(model, what, needed, available)

    def too_large(self, model: str, what: str, needed: int, available: int) -> FirmwareError:
        """The error for ``needed`` bytes when fewer are available."""
        return FirmwareError(
            f"graph '{model}' on {self.name}",
            f"{what} do not fit into memory",
            expected=f"at most {available:,} B",
            got=f"{needed:,} B",
            next_step="make the model or its input smaller, or choose another --target",
        )


BARE = ("-nostartfiles", "-Wl,--gc-sections", "-Wl,--fatal-warnings")
HOST_GCC = Toolchain("", "gcc libc6-dev binutils", ("host",), link_flags=("-Wl,--no-as-needed", "-lm"))
ARM_GCC = Toolchain(
    "arm-none-eabi-",
    "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    ("bare", "semihosting", "cortex_m"),
    flags=("-mthumb", "-masm-syntax-unified"),
    link_flags=BARE,
)
RISCV_GCC = Toolchain(
    "riscv64-unknown-elf-",
    "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    ("bare", "semihosting", "riscv"),
    flags=("--specs=picolibc.specs",),
    link_flags=BARE,
)
XTENSA_GCC = Toolchain(
    "xtensa-lx106-elf-",
    "gcc-xtensa-lx106 picolibc-xtensa-lx106-elf",
    ("bare", "xtensa"),
    flags=("-mtext-section-literals",),  # constants beside the code that loads them, which reaches 256 KiB
    link_flags=BARE,
)
# The unchanged C with wasi-libc, so that the host's port reads and writes files here too. The stack is below all data:
# an overflow is an access outside memory, which every runtime reports.
WASM_CLANG = Toolchain(
    "",
    "clang lld wasi-libc libclang-rt-dev-wasm32",
    ("host",),
    flags=("--target=wasm32-wasi",),
    link_flags=("-Wl,--gc-sections", "-Wl,--fatal-warnings", "-Wl,--stack-first", "-Wl,-z,stack-size=65536"),
    compiler="clang",
    linker="wasm-ld",
)


def _qemu_arm(machine: str, instructions_per_clock: float) -> Emulator:
    return Emulator("qemu-system-arm", "qemu-system-arm", machine, instructions_per_clock)


HOST = Target("host", "this machine", "c99", HOST_GCC, verify_flags=SANITIZERS)

# QEMU's only machine with an Armv6-M processor has too little RAM; a Cortex-M3 executes the same instructions.
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
    family="M0+",
)

CORTEX_M3 = Target(
    name="cortex-m3",
    title="Cortex-M3, QEMU mps2-an385",
    cpu="c99",
    toolchain=ARM_GCC,
    flags=("-mcpu=cortex-m3", "-mfloat-abi=soft"),
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
    family="M4",
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
    family="M7",
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
    family="M33",
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
    family="M55",
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

XTENSA = Target(
    name="xtensa",
    title="Xtensa LX106 (ABI call0, no FPU), QEMU sim",
    cpu="c99",
    toolchain=XTENSA_GCC,
    flags=("-mabi=call0",),
    linker_script=PORT_FOLDER / "xtensa" / "sim.ld",
    flash_bytes=4 << 20,
    ram_bytes=4 << 20,
    stack_bytes=16 << 10,
    emulator=Emulator("qemu-system-xtensa", "qemu-system-misc", "sim", 25.0, ("-cpu", "lx106"), SIMCALL),
)

NODE = Runtime(RUNTIME_FOLDER / "in_node.mjs", tool="node", package="nodejs")
WASMTIME = Runtime(RUNTIME_FOLDER / "in_wasmtime.py", module="wasmtime", extra="wasm")
CHROMIUM = Runtime(RUNTIME_FOLDER / "in_chromium.py", tool="chromium", package="chromium")

WASM = Target("wasm", "WebAssembly in Node.js", "c99", WASM_CLANG, runtime=NODE)
WASM_WASMTIME = replace(WASM, name="wasm-wasmtime", title="WebAssembly in Wasmtime", runtime=WASMTIME)
WASM_CHROMIUM = replace(WASM, name="wasm-chromium", title="WebAssembly in Chromium", runtime=CHROMIUM)

TARGETS = {
    target.name: target
    for target in (
        *(HOST, CORTEX_M0PLUS, CORTEX_M3, CORTEX_M4, CORTEX_M7, CORTEX_M33, CORTEX_M55, RISCV32, XTENSA),
        *(WASM, WASM_WASMTIME, WASM_CHROMIUM),
    )
}


def target_named(name: str) -> Target:
    """Return the target of that name; raise FirmwareError with the known names otherwise."""
    if name not in TARGETS:
        raise FirmwareError("target", "unknown", expected=" or ".join(TARGETS), got=name)
    return TARGETS[name]
