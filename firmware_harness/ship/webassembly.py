"""A product as a WebAssembly module without imports, compiled from the same C as every other export.

Uses the compiler and the flags of target ``wasm``. Refuses a missing compiler or C library, kernels of a processor,
and a module that would need imports.
"""

from __future__ import annotations

from tinyscene.runtime.temporaries import temporary_folder

from ..build.targets import C_FLAGS, WASM
from ..build.tools import compiler_version, run_tool
from ..build.wasm_sections import IMPORT_SECTION, sections
from ..errors import FirmwareError
from .product import Product
from .serial_program import C_FOLDER

MODULE_FOLDER = C_FOLDER / "wasm"
LINK_FLAGS = ("-nostartfiles", "-Wl,--no-entry", "-Wl,-s")


def module_sources(product: Product) -> dict[str, str]:
    """The C files of the module by name: the product, its header, and the exported functions around them."""
    functions = MODULE_FOLDER / ("classifier.c" if product.has_audio else "network.c")
    return {
        f"{product.prefix}.c": product.source(),
        f"{product.prefix}.h": product.header(),
        "module.c": product.text(functions),
    }


def build_command(product: Product, compiler: str = WASM.compiler) -> list[str]:
    """The command that compiles the module in a folder with its sources."""
    return [
        *(compiler, *C_FLAGS, *WASM.compile_flags, "module.c"),
        *(*WASM.link_flags, *LINK_FLAGS, "-o", f"{product.prefix}.wasm"),
    ]


def build_module(product: Product) -> bytes:
    """The module's bytes, the same for the same product and compiler.

    Raises:
        FirmwareError: a tool is missing, or the compiler fails.
    """
    if product.options.cpu != WASM.cpu:
        raise FirmwareError("--cpu", "WebAssembly has the portable kernels", expected=WASM.cpu, got=product.options.cpu)
    compiler_version(WASM)
    with temporary_folder("wasm") as folder:
        for name, text in module_sources(product).items():
            (folder / name).write_text(text)
        words = [word if word != "module.c" else str(folder / word) for word in build_command(product)]
        run_tool([*words[:-1], str(folder / words[-1])], WASM)
        module = (folder / words[-1]).read_bytes()
    if sections(module).get(IMPORT_SECTION):
        raise FirmwareError("WebAssembly module", "needs imports", expected="none, so that it runs everywhere")
    return module
