"""Compiler matrix: exported products under every compiler, processor, kernel set and set of options.

The products are a classifier with its front end in float (`scenes`) and in integers (`integer`), and networks without a
front end, with one input and output (`image`) and with two of each (`two-ended`). Each cell is built and run, on this
machine or under QEMU, and what it prints is compared with GCC -O2 on this machine: `equal`, or `refused` by a single
#error that the page quotes. Anything else is a failure, and the exit code is 1.

    python benchmarks/compilers.py [--rounding double|single] [--jobs N] [--out FILE.md] [WORD...]

A cell is taken when it contains every WORD, such as `image clang cortex-m55`. A missing compiler is reported by name.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tests.firmware_harness.bundles import (
    INTEGER_FRONTEND,
    image_network,
    network_alone,
    small_bundle,
    two_ended_network,
)
from tests.firmware_harness.ship.compilers import OPTIONS, Cell, cells, reports
from tinyscene.firmware_harness.build.targets import HOST
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.bundle import Bundle, read_bundle

TITLE = """# Compilers

Written by `python benchmarks/compilers.py`; do not edit. Exported products (a small classifier with its front end in
float and in integers, and two networks without one) are compiled with each set of options, run, and compared with GCC
-O2 on this machine. Rounding rule: {rounding}.

{counts}

| product, compiler, processor, kernels | {options} |
|---|{rules}|
"""


def outcome(cell: Cell, bundle: Bundle, expected: Sequence[str], folder: Path) -> str:
    """`equal`, `refused: ...`, `missing ...`, or what went wrong."""
    tools = [cell.target.compiler, *(["clang", "ld.lld"] if cell.compiler == "clang" else [])]
    tools += [cell.target.emulator.command] if cell.target.emulator else []
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        return f"missing {missing[0]}"
    try:
        got = reports(cell, bundle, folder)
    except (AssertionError, subprocess.SubprocessError) as error:
        return f"FAILED: {str(error)[:200]}"
    if isinstance(got, str):
        return f"refused: {got}"
    float_unit = not cell.target.soft_float
    return "equal" if got == [e for e in expected if float_unit or not e.startswith("permille")] else "DIFFERENT"


def products(folder: Path) -> dict[str, Bundle]:
    """The bundles of the exported products, by name."""
    return {
        "scenes": read_bundle(small_bundle(folder)),
        "integer": read_bundle(small_bundle(folder / "integer", frontend=INTEGER_FRONTEND)),
        "image": network_alone(folder, image_network()),
        "two-ended": network_alone(folder, two_ended_network()),
    }


def counts(outcomes: dict[tuple[str, Cell], str]) -> str:
    """Cells of each product and outcome, such as `scenes: 334 equal`."""
    kinds = Counter((product, text.partition(":")[0]) for (product, _), text in outcomes.items())
    return ", ".join(f"{product}: {count} {kind}" for (product, kind), count in kinds.items())


def page(outcomes: dict[tuple[str, Cell], str], rounding: Rounding) -> str:
    """The table in Markdown, one row for product, compiler, processor and kernel set."""
    rows: dict[str, dict[str, str]] = {}
    for (product, cell), text in outcomes.items():
        key = f"{product}, {cell.compiler}, {cell.target.name}, {cell.kernels}"
        rows.setdefault(key, {})[cell.options] = text
    lines = [f"| {key} | {' | '.join(row.get(option, '') for option in OPTIONS)} |" for key, row in rows.items()]
    title = TITLE.format(
        rounding=rounding, counts=counts(outcomes), options=" | ".join(OPTIONS), rules="|".join("---" for _ in OPTIONS)
    )
    return title + "".join(f"{line}\n" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--rounding", choices=get_args(Rounding), default="double")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    host = Cell("gcc", HOST, "c99", "-O2", arguments.rounding)
    with tempfile.TemporaryDirectory(prefix="tinyscene-compilers-") as name:
        folder = Path(name)
        bundles = products(folder)
        expected = {product: reports(host, bundle, folder / "expected") for product, bundle in bundles.items()}
        table = [(product, cell) for product in bundles for cell in cells(arguments.rounding)]
        chosen = [(product, cell) for product, cell in table if all(w in f"{product} {cell}" for w in arguments.words)]

        def run(numbered: tuple[int, tuple[str, Cell]]) -> str:
            index, (product, cell) = numbered
            text = outcome(cell, bundles[product], expected[product], folder / f"cell{index}")
            shutil.rmtree(folder / f"cell{index}", ignore_errors=True)
            print(f"{product} {cell}: {text}", flush=True)
            return text

        with ThreadPoolExecutor(arguments.jobs) as pool:
            outcomes = dict(zip(chosen, pool.map(run, enumerate(chosen)), strict=True))
    print(counts(outcomes))
    if arguments.out is not None:
        arguments.out.write_text(page(outcomes, arguments.rounding))
    return int(any(kind.startswith(("FAILED", "DIFFERENT")) for kind in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
