"""A product as a folder that can be used unchanged in a project of one kind: CMake, Make, Arduino, ESP-IDF and others.

The templates in formats/ are filled in by name; the C text comes from :mod:`.product`. An interrupted export leaves no
partial folder. Refuses an unknown format, and a folder that contains files which such an export does not write.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinyscene.runtime.files import replaced_folder, require_own_files
from tinyscene.runtime.plan import ALIGNMENT

from ..emit.c_text import plain
from ..errors import FirmwareError
from ..run.engine import Figures
from .board_rates import ESP32_C3, ESP32_S3, NANO_33_BLE, PICO, PICO_2, STM32L475, Board, Rate, boards_text
from .parts import MICROPHONE_FOLDER, Program
from .product import Product
from .templates import substituted
from .web_package import package_files, package_words
from .webassembly import build_module
from .words import SERIAL_ROW, audio_figures, words_of

FORMAT_FOLDER = Path(__file__).resolve().parent / "formats"
VENDOR = "tinyscene"
_PACK_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip file: the same folder gives the same bytes
_CPU_FLAGS = {
    "c99": "-mcpu=cortex-m0plus -mthumb",
    "dsp": "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard",
    "mve": "-mcpu=cortex-m55 -mthumb -mfloat-abi=hard",
}
_REQUIREMENT = {
    "c99": "The kernels are portable C99 for any 32-bit processor with GCC or Clang.",
    "dsp": "The kernels need the DSP instructions of Cortex-M4, M7 and M33.",
    "mve": "The kernels need the vector instructions (Helium) of Cortex-M55 and M85.",
}
_ONCE = "The example runs the network once. Call your sensor's driver in it."
_UNSEALED = "Code and other constants of your image have no checksum: your project links it."
_SEALED = (
    "`{prefix}_seal(TARGET)` in CMake stores the CRC-32 of the linked code and of all constants in the image; it is "
    "compared at start and by `{prefix}_check_step`. Without it, only the constants of this library have a checksum."
)
_VERIFIED_AT_START = (
    "The boot loader compares the image with its SHA-256 before it starts it, unless the project's configuration skips "
    "that; `{prefix}_check_step` compares the constants while it runs."
)
_PROTECTIONS = {"cmake": _SEALED, "pico-sdk": _SEALED, "esp-idf": _VERIFIED_AT_START}
_PACK_CPUS = {
    "dsp": ('Dcore="Cortex-M4"', 'Dcore="Cortex-M7"', 'Dcore="Cortex-M33" Ddsp="DSP"'),
    "mve": tuple(f'Dcore="{core}" Dmve="{mve}"' for core in ("Cortex-M55", "Cortex-M85") for mve in ("MVE", "FP_MVE")),
}


@dataclass(frozen=True)
class Format:
    """Layout of a folder.

    ``files``: template in formats/NAME -> path. Paths may contain words such as ``@{prefix}``. ``program``: the kind of
    the example, see :mod:`.parts`. ``microphones``: C files in c/microphones -> path, for a classifier of audio.
    ``boards``: those of the examples, whose instructions are compared with their clock.
    """

    name: str
    files: Mapping[str, str]
    example: str = "examples/main.c"
    program: Program = "host"
    headers: str = "include"
    serial: str = "serial"
    microphones: Mapping[str, str] = field(default_factory=dict)
    boards: tuple[Board, ...] = ()
    packed: bool = False  # with a CMSIS-Pack file of the folder
    web: bool = False  # with the compiled module and JavaScript instead of an example in C


_PROJECT = "examples/@{example}"
_NANO = "examples/Nano33Ble"


def _beside(folder: str, *names: str) -> dict[str, str]:
    return {name: f"{folder}/{name}" for name in names}


FORMATS = {
    form.name: form
    for form in (
        Format(
            "cmake",
            {"CMakeLists.txt": "CMakeLists.txt", "library.cmake": "library.cmake", "seal.cmake": "seal.cmake"},
            microphones={"main.c": "examples/stm32/main.c", "stm32_hal.c": "examples/stm32/microphone.c"}
            | _beside("examples/stm32", "microphone.h", "ring.h", "level.h"),
            boards=(STM32L475,),
        ),
        Format("makefile", {"Makefile": "Makefile"}),
        Format(
            "arduino",
            {"library.properties": "library.properties"},
            example="examples/@{Example}/@{Example}.ino",
            program="sketch",
            headers="src",
            serial="extras/serial",
            microphones={"nano33ble.ino": f"{_NANO}/Nano33Ble.ino"} | _beside(_NANO, "ring.h", "level.h"),
            boards=(NANO_33_BLE,),
        ),
        Format(
            "zephyr",
            {
                "zephyr/module.yml": "zephyr/module.yml",
                "zephyr/CMakeLists.txt": "zephyr/CMakeLists.txt",
                "zephyr/Kconfig": "zephyr/Kconfig",
                "sample/CMakeLists.txt": "samples/@{example}/CMakeLists.txt",
                "sample/prj.conf": "samples/@{example}/prj.conf",
                "sample/sample.yaml": "samples/@{example}/sample.yaml",
            },
            example="samples/@{example}/src/main.c",
            program="board",
        ),
        Format("cmsis-pack", {"package.pdsc": f"{VENDOR}.@{{prefix}}.pdsc"}, program="board", packed=True),
        Format("wasm", {"package.json": "package.json"}, web=True),
        Format(
            "platformio",
            {"library.json": "library.json"},
            example="examples/@{example}/main.c",
            program="board",
        ),
        Format(
            "esp-idf",
            {
                "CMakeLists.txt": "CMakeLists.txt",
                "idf_component.yml": "idf_component.yml",
                "Kconfig": "Kconfig",
                "example/CMakeLists.txt": f"{_PROJECT}/CMakeLists.txt",
                "example/main.cmake": f"{_PROJECT}/main/CMakeLists.txt",
                "example/app_main.c": f"{_PROJECT}/main/app_main.c",
                "example/sdkconfig.defaults": f"{_PROJECT}/sdkconfig.defaults",
                "example/sdkconfig.esp32s3": f"{_PROJECT}/sdkconfig.defaults.esp32s3",
                "example/sdkconfig.esp32c3": f"{_PROJECT}/sdkconfig.defaults.esp32c3",
            },
            example=f"{_PROJECT}/main/main.c",
            program="microphone",
            microphones={
                "esp_i2s.c": f"{_PROJECT}/main/microphone.c",
                "esp_pins.projbuild": f"{_PROJECT}/main/Kconfig.projbuild",
            }
            | _beside(f"{_PROJECT}/main", "microphone.h", "ring.h", "level.h"),
            boards=(ESP32_S3, ESP32_C3),
        ),
        Format(
            "pico-sdk",
            {
                "CMakeLists.txt": "CMakeLists.txt",
                "../cmake/library.cmake": "library.cmake",
                "../cmake/seal.cmake": "seal.cmake",
                "example/CMakeLists.txt": f"{_PROJECT}/CMakeLists.txt",
            },
            example=f"{_PROJECT}/main.c",
            program="microphone",
            microphones={
                "pico_i2s.c": f"{_PROJECT}/microphone_i2s.c",
                "pico_adc.c": f"{_PROJECT}/microphone_adc.c",
                "i2s_left.pio": f"{_PROJECT}/i2s_left.pio",
            }
            | _beside(_PROJECT, "microphone.h", "ring.h", "level.h"),
            boards=(PICO_2, PICO),
        ),
    )
}


def format_named(name: str) -> Format:
    """Return the format of that name; raise FirmwareError with the known names otherwise."""
    if name not in FORMATS:
        raise FirmwareError("format", "unknown", expected=" or ".join(FORMATS), got=name)
    return FORMATS[name]


@dataclass(frozen=True)
class Measured:
    """Figures of the network on an emulated machine, and bounds of the product's functions by name (may be empty).

    ``rates``: instructions for a second of audio on the format's boards.
    """

    figures: Figures
    stack_bound_bytes: Mapping[str, int]
    rates: tuple[Rate, ...] = ()


def export(product: Product, form: Format, folder: Path, measured: Measured | None = None) -> None:
    """Write the folder.

    Args:
        product: the product to export.
        form: layout of the folder.
        folder: new, empty, or of an earlier export in the same format with the same prefix.
        measured: figures for README.md.

    Raises:
        RuntimeFailure: ``folder`` contains other files.
    """
    files = contents(product, form, measured)
    require_own_files(folder, files, "a new folder, or one of an earlier export of this kind")
    with replaced_folder(folder) as unfinished:
        for name, data in files.items():
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def contents(product: Product, form: Format, measured: Measured | None = None) -> dict[str, bytes]:
    """Contents of every file of the folder, by path."""
    prefix = product.prefix
    words = _words(product, form, measured)
    if form.web:
        module = build_module(product)
        words |= package_words(product, module)
        return package_files(product, module) | {
            "LICENSE": (FORMAT_FOLDER / "LICENSE").read_bytes(),
            **{name: _filled(f"{form.name}/{name}", words).encode() for name in ("README.md", *form.files)},
        }
    texts = {
        f"src/{prefix}.c": product.source(),
        f"{form.headers}/{prefix}.h": product.header(),
        words["example_path"]: product.text(product.part.programs[form.program], form.program != "host"),
        "LICENSE": (FORMAT_FOLDER / "LICENSE").read_text(),
        "README.md": _filled("README.md", words | {"usage": _filled(f"{form.name}/usage.md", words).rstrip() + "\n"}),
    }
    texts |= {f"{form.serial}/{name}": text for name, text in product.serial_sources().items()}
    for name, path in form.microphones.items() if product.has_audio else ():
        texts[substituted(path, words)] = product.text(MICROPHONE_FOLDER / name)
    for template, path in form.files.items():
        texts[substituted(path, words)] = _filled(f"{form.name}/{template}", words)
    files = {name: text.encode() for name, text in sorted(texts.items())}
    if form.packed:
        files[f"{VENDOR}.{prefix}.{product.options.release}.pack"] = _packed(files)
    return files


def _words(product: Product, form: Format, measured: Measured | None) -> dict[str, str]:
    """Values of the names in the templates."""
    options, prefix, own = product.options, product.prefix, words_of(product.part, product.prefix)
    own_microphone = product.has_audio and bool(form.microphones)
    once = _ONCE if form.program == "microphone" else ""
    accepted = "".join(f"      <accept {cpu}/>\n" for cpu in _PACK_CPUS.get(options.cpu, ()))
    conditions = f'  <conditions>\n    <condition id="{options.cpu}">\n{accepted}    </condition>\n  </conditions>\n'
    return own | {
        "prefix": prefix,
        "PREFIX": prefix.upper(),
        "release": options.release,
        "generator": product.generator,
        "model": plain(product.graph.name),
        "digest": product.emitted.digest,
        "header": f"{form.headers}/{prefix}.h",
        "source": f"src/{prefix}.c",
        "example_path": substituted(form.example, own),
        "serial_row": substituted(SERIAL_ROW, own | {"serial": form.serial}) if product.part.results else "",
        "figures": "\n".join(f"| {name} | {value} |" for name, value in _figures(product, measured)),
        "microphone": _filled(f"{form.name}/microphone.md", own) if own_microphone else once,
        "boards": boards_text(product, form.boards, measured.rates if measured else ()),
        "requirement": _REQUIREMENT[options.cpu],
        "protection": _PROTECTIONS.get(form.name, _UNSEALED).format(prefix=prefix),
        "cpu_flags": _CPU_FLAGS[options.cpu],
        "arena_bytes": f"{product.arena_bytes}",
        "arena_alignment": f"{ALIGNMENT}",
        "state_bytes": f"{product.state_bytes}",
        "constant_bytes": f"{product.constant_bytes}",
        "conditions": conditions if accepted else "",
        "condition": f' condition="{options.cpu}"' if accepted else "",
    }


def _figures(product: Product, measured: Measured | None) -> list[tuple[str, str]]:
    options = product.options
    rows = [
        ("digest of the model", f"`{product.emitted.digest}`"),
        *audio_figures(product.part),
        ("network", f"{product.macs:,} multiply-accumulates, {len(product.emitted.calls)} calls"),
        ("kernels", f"{options.cpu}, optimised for {options.optimise}, rounding {options.rounding}"),
        ("RAM: arena", f"{product.arena_bytes:,} B"),
        ("RAM: state", f"{product.state_bytes:,} B"),
        ("flash: constants", f"{product.constant_bytes:,} B"),
    ]
    if measured is not None and measured.figures.instructions is not None:
        figures, bounds = measured.figures, measured.stack_bound_bytes
        rows += [
            ("flash: code of the network", f"{figures.code_bytes:,} B, including 1.5 kB of the measuring program"),
            ("RAM: stack of one inference, measured", f"{figures.stack_bytes:,} B"),
            *(
                (f"RAM: stack of `{product.prefix}_{each}`, bound", f"{bounds[each]:,} B")
                for each in product.part.functions
                if bounds
            ),
            ("instructions of one inference", f"{figures.instructions:,}"),
        ]
    return rows


def _filled(template: str, words: Mapping[str, str]) -> str:
    return substituted((FORMAT_FOLDER / template).read_text(), words)


def _packed(files: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as pack:
        for name, data in files.items():
            pack.writestr(zipfile.ZipInfo(name, _PACK_TIME), data, zipfile.ZIP_DEFLATED)
    return target.getvalue()
