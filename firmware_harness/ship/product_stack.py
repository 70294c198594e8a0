"""Largest stack of the functions of an exported product that run the network, for one compiler and processor.

The product is compiled and linked with the target's start-up code, but not run; see
:mod:`tinyscene.firmware_harness.build.stack` for what is counted and refused.
"""

from __future__ import annotations

from tinyscene.runtime.temporaries import temporary_folder

from ..build.stack import StackBound, call_graph_flags, call_graphs_of, stack_bound
from ..build.targets import C_FLAGS, Target
from ..build.tools import run_tool
from .product import Product
from .serial_program import C_FOLDER

PROGRAM = C_FOLDER / "main_stack.c"


def product_stack(product: Product, target: Target) -> dict[str, StackBound]:
    """Bound of each function by its name without prefix; empty where the compiler writes no call graphs.

    A bound contains neither the callback nor interrupts.

    Raises:
        FirmwareError: the stack has no bound, the product does not fit, or a tool is missing.
    """
    flags = call_graph_flags(target)
    if not flags:
        return {}
    with temporary_folder("stack") as folder:
        prefix = product.prefix
        texts = {
            f"{prefix}.c": product.source(),
            f"{prefix}.h": product.header(),
            "main.c": product.text(PROGRAM),
        }
        for file, text in texts.items():
            (folder / file).write_text(text)
        library, image = folder / f"{prefix}.o", folder / "product.elf"
        build = [target.compiler, *C_FLAGS, *target.compile_flags]
        run_tool([*build, *flags, "-c", str(folder / f"{prefix}.c"), "-o", str(library)], target)
        ports = [str(path) for port in target.port_folders for path in sorted(port.glob("*.c"))]
        includes = [f"-I{path}" for path in (folder, *target.port_folders, target.port_folders[0].parent)]
        inputs = [str(folder / "main.c"), str(library), *ports]
        run_tool([*build, *includes, *inputs, *target.link_flags, "-lm", "-o", str(image)], target)
        graphs = call_graphs_of([library])
        return {each: stack_bound(image, graphs, target, f"{prefix}_{each}") for each in product.part.functions}
