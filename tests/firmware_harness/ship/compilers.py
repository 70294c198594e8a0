"""An exported product under one compiler, processor, kernel set and set of options: equal, or refused by one #error.

A cell compiles the product with its options and links it with a program that prints the callback's reports
(print_reports.c), or without a front end the codes (print_codes.c), and with the target's start-up code, both compiled
as usual. What the emulated machine prints must be what this machine prints. Clang gets the headers and libraries of the
GCC for the same processor.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.firmware_harness.ship.boards import PRINT_CODES, PRINT_REPORTS, link, run
from tinyscene.firmware_harness.build.seal import seal
from tinyscene.firmware_harness.build.targets import (
    CORTEX_M0PLUS,
    CORTEX_M3,
    CORTEX_M4,
    CORTEX_M7,
    CORTEX_M33,
    CORTEX_M55,
    HOST,
    PORT_FOLDER,
    RISCV32,
    XTENSA,
    Target,
)
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.bundle import Bundle, read_bundle

COMPILERS = ("gcc", "clang")
KERNEL_SETS: dict[Target, tuple[str, ...]] = {
    CORTEX_M0PLUS: ("c99",),
    CORTEX_M3: ("c99",),
    CORTEX_M4: ("c99", "dsp"),
    CORTEX_M7: ("c99", "dsp"),
    CORTEX_M33: ("c99", "dsp"),
    CORTEX_M55: ("c99", "dsp", "mve"),
    RISCV32: ("c99",),
    XTENSA: ("c99",),
    HOST: ("c99",),
}
OPTIONS: dict[str, tuple[str, ...]] = {
    "-O0": ("-O0",),
    "-Og, frame pointers": ("-Og", "-fno-omit-frame-pointer"),
    "-O1": ("-O1",),
    "-O2": ("-O2",),
    "-O3": ("-O3",),
    "-Os": ("-Os",),
    "instrumented": ("-O2", "-finstrument-functions"),
    "-ffixed-r9": ("-O2", "-ffixed-r9"),
    "-flto, two models": ("-O2", "-flto"),
    "-fshort-enums": ("-O2", "-fshort-enums"),
    "-funsigned-char": ("-O2", "-funsigned-char"),
    "-fno-builtin": ("-O2", "-fno-builtin"),
    "header in C++": ("-O2",),
}
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-ffunction-sections", "-fdata-sections")
TRIPLES = {"arm-none-eabi-": "arm-none-eabi", "riscv64-unknown-elf-": "riscv32-unknown-elf"}
HOOKS = (
    "#define HOOK __attribute__((no_instrument_function)) void\n"
    "HOOK __cyg_profile_func_enter(void* function, void* site);\n"
    "HOOK __cyg_profile_func_exit(void* function, void* site);\n"
    "HOOK __cyg_profile_func_enter(void* function, void* site) { (void)function, (void)site; }\n"
    "HOOK __cyg_profile_func_exit(void* function, void* site) { (void)function, (void)site; }\n"
)
TWO_MODELS = (
    '#define main main_of_one\nint main_of_one(void);\n#include "{program}"\n#undef main\n'
    '#include "two.h"\nstatic two_state other;\n'
    "static int8_t room[TWO_ARENA_BYTES] __attribute__((aligned(TWO_ARENA_ALIGNMENT)));\n"
    "int main(void) {{ return two_init(&other, room, NULL, NULL) != TWO_OK ? 100 : main_of_one(); }}\n"
)
IN_CPP = 'extern "C" {{\n#include "ts_port.h"\n}}\n#include "{program}"\n'


@dataclass(frozen=True)
class Cell:
    """One build. ``options``: a key of :data:`OPTIONS`."""

    compiler: str
    target: Target
    kernels: str
    options: str
    rounding: Rounding = "double"

    def __str__(self) -> str:
        return f"{self.compiler} {self.target.name} {self.kernels} {self.rounding} {self.options}"


def cells(rounding: Rounding = "double") -> list[Cell]:
    """The whole table; an option that names a register exists on Arm only, and Clang 14 has no Xtensa."""
    return [
        Cell(compiler, target, kernels, options, rounding)
        for compiler in COMPILERS
        for target, sets in KERNEL_SETS.items()
        if compiler == "gcc" or target is not XTENSA
        for kernels in sets
        for options in OPTIONS
        if "r9" not in options or "arm" in target.toolchain.prefix
    ]


def reports(cell: Cell, bundle: Bundle, folder: Path) -> str | list[str]:
    """Printed lines, or what the single #error says; permilles only where there is a float unit.

    Raises:
        AssertionError: the compiler fails without an #error, or the program does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    flags = OPTIONS[cell.options]
    prefixes = ("asc", "two") if "-flto" in flags else ("asc",)
    for prefix in prefixes:
        source, header = _product(bundle.path, Options(cell.kernels, rounding=cell.rounding, prefix=prefix))
        (folder / f"{prefix}.c").write_text(source)
        (folder / f"{prefix}.h").write_text(header)
    objects = []
    for prefix in prefixes:
        compiled = _compile(cell, (*STRICT, *flags), folder / f"{prefix}.c")
        if isinstance(compiled, str):
            return compiled
        objects.append(compiled)
    image = _linked(cell, objects, folder, PRINT_CODES if bundle.frontend is None else PRINT_REPORTS)
    seal(image, cell.target)
    ran = run(cell.target, image)
    assert ran.code == 0, f"{cell}: exit code {ran.code}, {ran.lines[-1:]}"
    return [line for line in ran.lines if not (cell.target.soft_float and line.startswith("permille"))]


def compiler(cell: Cell) -> tuple[str, ...]:
    """The compiler's command for the cell's processor."""
    target = cell.target
    if cell.compiler == "gcc":
        return (target.compiler, *target.compile_flags)
    triple = TRIPLES.get(target.toolchain.prefix)
    flags = (flag for flag in target.compile_flags if not flag.startswith(("--specs", "-masm-syntax")))
    cross = () if triple is None else (f"--target={triple}", *(f"-isystem{path}" for path in _headers(target)))
    return ("clang", *cross, *flags)


@lru_cache(maxsize=8)
def _product(bundle: Path, options: Options) -> tuple[str, str]:
    """Source and header, which cells of several compilers and sets of options share."""
    product = Product(read_bundle(bundle), options, "tinyscene")
    return product.source(), product.header()


def _compile(cell: Cell, flags: tuple[str, ...], source: Path) -> Path | str:
    """The object, or the text of the #error that refuses."""
    target = source.with_suffix(".o")
    command = [*compiler(cell), *flags, f"-I{source.parent}", "-c", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return target
    errors = [line for line in done.stderr.splitlines() if re.search(r"\berror:", line)]
    refusal = re.search(r'error: (?:#error )?"([^"]+)"', errors[0]) if len(errors) == 1 else None
    assert refusal is not None, f"{cell}: {errors[:1] or done.stderr[-300:]}"
    return refusal[1]


def _linked(cell: Cell, objects: list[Path], folder: Path, program: Path) -> Path:
    if len(objects) > 1:
        main_of_one, program = program.name, folder / "two_models.c"
        program.write_text(TWO_MODELS.format(program=main_of_one))
    elif cell.options == "header in C++":
        program = _in_cpp(cell, folder, program)
    (folder / "hooks.c").write_text(HOOKS)
    inputs, image = [program, folder / "hooks.c", *objects], folder / "reports.elf"
    includes = [folder, PRINT_REPORTS.parent]
    if cell.compiler == "clang" and cell.target is not RISCV32:
        return _linked_by_lld(cell, inputs, includes, image)
    if cell.compiler == "clang" and len(objects) > 1:  # lld 14 refuses relaxed objects, as those of the C library
        merged = folder / "merged.o"
        subprocess.run(["ld.lld", "-r", *map(str, objects), "-o", str(merged)], check=True)
        return link(cell.target, [program, folder / "hooks.c", merged], includes, image)
    # GCC's linker optimises objects with -flto unasked. With the flag it would do so with Xtensa's products and floats,
    # and drop them before it knows that it calls them.
    return link(cell.target, inputs, includes, image)


def _in_cpp(cell: Cell, folder: Path, program: Path) -> Path:
    """The program as C++, without a C++ library."""
    source, result = folder / "reports.cpp", folder / "reports_cpp.o"
    source.write_text(IN_CPP.format(program=program.name))
    flags = ("-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fno-exceptions")
    searched = [f"-I{path}" for path in (folder, PRINT_REPORTS.parent, PORT_FOLDER)]
    subprocess.run([*compiler(cell), *flags, *searched, "-c", str(source), "-o", str(result)], check=True)
    return result


def _linked_by_lld(cell: Cell, inputs: list[Path], includes: list[Path], image: Path) -> Path:
    """As `link`, by LLVM's linker, which also reads Clang's objects of link-time optimisation."""
    target = cell.target
    searched = [f"-I{path}" for path in (*includes, *target.port_folders, PORT_FOLDER)]
    objects = []
    for source in [*inputs, *(path for port in target.port_folders for path in sorted(port.glob("*.c")))]:
        if source.suffix == ".o":
            objects.append(source)
            continue
        objects.append(image.parent / f"{source.stem}_lld.o")
        command = [target.compiler, *target.compile_flags, "-std=c99", "-O2", *searched, "-c", str(source)]
        subprocess.run([*command, "-o", str(objects[-1])], check=True)
    if target.linker_script is None:
        subprocess.run(["clang", "-fuse-ld=lld", *map(str, objects), "-lm", "-o", str(image)], check=True)
        return image
    options = ["--gc-sections", f"--defsym=STACK_BYTES={target.stack_bytes}", f"-T{target.linker_script}"]
    options += [f"-L{port}" for port in target.port_folders]
    libraries = [*_library_folders(target), "--start-group", "-lm", "-lc", "-lgcc", "--end-group"]
    command = ["ld.lld", *options, *map(str, objects), *libraries, "-o", str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{cell}: {done.stderr[:300]}"
    return image


@lru_cache
def _headers(target: Target) -> tuple[str, ...]:
    """Folders of the C library's headers, as GCC searches them; the compiler's own are Clang's."""
    command = [target.compiler, *target.compile_flags, "-E", "-v", "-xc", "/dev/null", "-o", "/dev/null"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    listed = text.partition("search starts here:\n")[2].rpartition("End of search list")[0]
    folders = [str(Path(line.strip()).resolve()) for line in listed.splitlines() if line.startswith(" ")]
    return tuple(folder for folder in folders if "/gcc/" not in folder)


@lru_cache
def _library_folders(target: Target) -> tuple[str, ...]:
    """Options -L of the folders in which GCC finds its C library and its support library."""
    command = [target.compiler, *target.compile_flags, "-###", "none.o"]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    (line,) = (line for line in text.splitlines() if "/collect2 " in line)
    return tuple(word for word in shlex.split(line) if word.startswith("-L"))
