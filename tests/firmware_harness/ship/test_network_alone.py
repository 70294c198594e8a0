"""`tinyscene firmware export` of networks without a front end: their codes are those of the interpreter."""

from __future__ import annotations

import re
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_harness.machines import each_format, on
from tests.firmware_harness.ship.boards import PRINT_CODES, link, run
from tests.firmware_harness.ship.compilers import COMPILERS, Cell, reports
from tests.graphs import random_input
from tinyscene import command_line
from tinyscene.firmware_harness.build.targets import CORTEX_M0PLUS, CORTEX_M4, CORTEX_M55, HOST, SANITIZERS, Target
from tinyscene.firmware_harness.emit.constant_bytes import resolve
from tinyscene.firmware_harness.ship.formats import FORMATS, contents, export
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.firmware_harness.ship.product_stack import product_stack
from tinyscene.firmware_harness.ship.self_test import golden_input, golden_output
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run as interpret
from tinyscene.runtime.vectors import row_shape

HERE = Path(__file__).resolve().parent
STRICT = "-Wall -Wextra -Werror -Wconversion -Wshadow -Wpedantic"
NAMES = ("image", "two")


def _exported(bundle: Bundle, folder: Path, options: Options) -> Path:
    export(Product(bundle, options, "tinyscene"), FORMATS["makefile"], folder)
    return folder


@pytest.mark.needs_tool("make")
@pytest.mark.parametrize("compiler", [pytest.param(c, marks=pytest.mark.needs_tool(c)) for c in ("gcc", "clang")])
@pytest.mark.parametrize(("name", "rounding"), [("image", "double"), ("two", "single")])
def test_the_example_on_this_machine_prints_the_interpreter_s_codes(
    name: str, rounding: Rounding, compiler: str, alone: dict[str, Bundle], tmp_path: Path
) -> None:
    graph = alone[name].graph
    folder = _exported(alone[name], tmp_path / "out", Options(rounding=rounding))
    words = [f"CC={compiler}", f"CPU_FLAGS={STRICT}", "OPTIMISATION=-O1", "example"]
    subprocess.run(["make", "-C", folder, *words], check=True, capture_output=True)
    codes = random_input(np.random.default_rng(1), graph, 3)
    example = folder / "build" / "neural_example"
    printed = subprocess.run([example], input=codes.tobytes(), capture_output=True, check=True).stdout.decode()
    first, *rows = printed.splitlines()
    expected = interpret(graph, codes, rounding=rounding).reshape(3, -1)
    assert first == "self-test 0"
    assert [list(map(int, row.split())) for row in rows] == expected.tolist()


@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("name", NAMES)
def test_states_are_guarded_and_checks_run_in_steps(name: str, alone: dict[str, Bundle], tmp_path: Path) -> None:
    folder = _exported(alone[name], tmp_path / "asc", Options(prefix="asc"))
    sources, flags = [HERE / "alone_check.c", folder / "src" / "asc.c"], (*SANITIZERS, "-O1")
    ran = run(HOST, link(HOST, sources, [folder / "include"], tmp_path / "check", *flags))
    assert ran.code == 0, ran


@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("name", NAMES)
def test_changed_constants_and_wrong_outputs_are_detected(name: str, alone: dict[str, Bundle], tmp_path: Path) -> None:
    folder = _exported(alone[name], tmp_path / "asc", Options(prefix="asc"))
    text = (folder / "src" / "asc.c").read_text()
    golden = zlib.crc32(golden_output(alone[name].graph, "double").tobytes())
    weights = re.search(r"\.layer_0_\w+ = \{\n? *(-?\d+),", text)
    assert weights is not None
    at = weights.start(1)
    changes = {
        0: text,
        4: text[:at] + str(-int(weights[1]) or 1) + text[weights.end(1) :],
        5: text.replace(f"0x{golden:08x}u", f"0x{golden ^ 1:08x}u"),
    }
    for code, changed in changes.items():
        assert (changed == text) == (code == 0)
        (tmp_path / "asc.c").write_text(changed)
        image = link(HOST, [PRINT_CODES, tmp_path / "asc.c"], [folder / "include"], tmp_path / "codes")
        ran = run(HOST, image)
        assert (ran.code, ran.lines[0]) == (code, f"self-test {-code}")


def test_the_golden_outputs_are_of_every_end(alone: dict[str, Bundle]) -> None:
    graph = alone["two"].graph
    assert golden_input(graph).shape == (1, *row_shape(graph, graph.inputs))
    assert golden_output(graph, "double").size == sum(graph.tensors[name].n_bytes for name in graph.outputs)


def _macros(header: str) -> dict[str, str]:
    return dict(re.findall(r"^#define ASC_(\w+) (.*)$", header, re.MULTILINE))


def _described(graph: Graph) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name and shape by the macro of each end."""
    described = {}
    for kind, names in (("INPUT", graph.inputs), ("OUTPUT", graph.outputs)):
        for number, name in enumerate(names):
            macro = f"{kind}_{number}" if len(graph.inputs) > 1 else kind
            described[macro] = (name, graph.tensors[name].shape[1:])
    return described


@pytest.mark.parametrize("name", NAMES)
def test_header_and_readme_describe_every_end(name: str, alone: dict[str, Bundle]) -> None:
    graph = alone[name].graph
    files = contents(Product(alone[name], Options(prefix="asc"), "tinyscene"), FORMATS["cmake"])
    macros, readme = _macros(files["include/asc.h"].decode()), files["README.md"].decode()
    for macro, (end, shape) in _described(graph).items():
        quant = graph.tensors[end].quant
        assert macros[f"{macro}_NAME"] == f'"{end}"'
        assert macros[f"{macro}_SHAPE"] == f"{{{', '.join(map(str, shape))}}}"
        assert macros[f"{macro}_BYTES"] == str(np.prod(shape))
        assert float.fromhex(macros[f"{macro}_SCALE"].removesuffix("f")) == quant.scale[0]
        assert macros[f"{macro}_ZERO_POINT"] == f"({quant.zero_point})"
        sizes = f"{' x '.join(map(str, shape))} | {np.prod(shape)}"
        assert f"| `{end}` | {sizes} | {quant.scale[0]:.9g} | {quant.zero_point} |" in readme
    several = name == "two"
    assert ("INPUTS" in macros, "INPUT_SIZES" in macros, "OUTPUTS_BYTES" in macros) == (several,) * 3
    assert ("serial protocol" in readme, any(path.startswith("serial/") for path in files)) == (not several,) * 2


@each_format
def test_no_word_of_audio_is_left(form: str, alone: dict[str, Bundle]) -> None:
    """In what a person reads; kernels and their comments are those of every product."""
    files = contents(Product(alone["image"], Options(prefix="asc"), "tinyscene"), FORMATS[form])
    for path, data in files.items():
        if path not in ("LICENSE", "src/asc.c", "network.d.ts") and not path.endswith((".pack", ".wasm")):
            assert not re.search(rb"(?i)audio|microphone|clip|label|acoustic|pcm|\bhop\b|front end", data), path


def test_the_serial_protocol_of_what_are_no_scores_sends_values(alone: dict[str, Bundle]) -> None:
    """A softmax over the pixels of an image means nothing."""
    header = Product(alone["image"], Options(), "tinyscene").serial_sources()["neural_serial_model.h"]
    assert "SOFTMAX" not in header


@pytest.mark.needs_tool("gcc")
def test_a_classifier_and_a_network_in_one_image_share_no_name(
    scenes: Bundle, alone: dict[str, Bundle], tmp_path: Path
) -> None:
    folders = [
        _exported(bundle, tmp_path / prefix, Options(prefix=prefix, optimise="layers"))
        for prefix, bundle in (("one", scenes), ("two", alone["two"]))
    ]
    (tmp_path / "both.c").write_text(
        '#include "one.h"\n#include "two.h"\nstatic one_state a; static two_state b;\n'
        "static int8_t arena[ONE_ARENA_BYTES + TWO_ARENA_BYTES] __attribute__((aligned(16)));\n"
        "int main(void) { return one_init(&a, arena, 0, 0) || two_init(&b, arena, 0, 0); }\n"
    )
    includes = [f"-I{folder / 'include'}" for folder in folders]
    sources = [tmp_path / "both.c", *(folder / "src" / f"{folder.name}.c" for folder in folders)]
    subprocess.run(["gcc", "-O1", *sources, *includes, "-lm", "-o", tmp_path / "both"], check=True)
    assert subprocess.run([tmp_path / "both"], check=False).returncode == 0
    compiled = tmp_path / "two.o"
    subprocess.run(["gcc", "-c", sources[2], *includes, "-o", compiled], check=True)
    listed = subprocess.run(["nm", "-g", "--defined-only", compiled], capture_output=True, text=True, check=True)
    names = {line.split()[2] for line in listed.stdout.splitlines()}
    assert names == {f"two_{name}" for name in ("alive", "check_step", "guard_stack", "init", "invoke")}


def test_a_hop_is_refused_by_name(alone: dict[str, Bundle], tmp_path: Path, capsys) -> None:
    path = str(alone["image"].path)
    words = ["firmware", "export", path, "--as", "cmake", "--out", str(tmp_path / "out")]
    assert command_line.main([*words, "--hop", "1"]) == 2
    expected = f"error: --hop: belongs to audio, and the model has no front end; got {path}; next: leave out --hop\n"
    assert capsys.readouterr().err == expected
    assert command_line.main([*words, "--frontend", "cpm23"]) == 2
    assert "front end 'cpm23' does not make the input of this network" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_forms_of_the_interface_have_the_same_functions_and_errors() -> None:
    """The text that the macros select differs, and what is common is there once."""
    text = (HERE.parents[2] / "firmware_harness" / "ship" / "c" / "product.h").read_text()
    functions = {}
    for audio in (True, False):
        chosen = resolve(text, {"PRODUCT_AUDIO": audio, "PRODUCT_INPUTS": False, "PRODUCT_KEPT_BYTES": False})
        functions[audio] = set(re.findall(r"^\w+ \*?(product_\w+)\(", chosen, re.MULTILINE))
        assert "#ifdef PRODUCT" not in chosen
    assert functions[True] - functions[False] == {"product_process_pcm"}
    assert functions[False] < functions[True]


@pytest.mark.slow
@pytest.mark.parametrize("compiler", [pytest.param(c, marks=pytest.mark.needs_tool(c)) for c in COMPILERS])
@pytest.mark.parametrize("target", [on(CORTEX_M4), on(CORTEX_M0PLUS), on(CORTEX_M55)])
@pytest.mark.parametrize("name", NAMES)
def test_boards_print_the_interpreter_s_codes(
    name: str, target: Target, compiler: str, alone: dict[str, Bundle], tmp_path: Path
) -> None:
    graph, cell = alone[name].graph, Cell(compiler, target, target.cpu, "-O2")
    n_codes = np.prod(row_shape(graph, graph.inputs))
    codes = np.array([i % 251 - 125 for i in range(n_codes)], np.int8).reshape(1, *row_shape(graph, graph.inputs))
    expected = [f"code {code}" for code in interpret(graph, codes).ravel()]
    assert reports(cell, alone[name], tmp_path) == ["self-test 0", "invoked 0", *expected]


@pytest.mark.slow
@pytest.mark.parametrize("target", [on(CORTEX_M4)])
def test_the_stack_has_bounds(target: Target, alone: dict[str, Bundle]) -> None:
    for name in NAMES:
        bounds = product_stack(Product(alone[name], Options(target.cpu), "tinyscene"), target)
        assert tuple(bounds) == ("init", "invoke")
        assert 64 < bounds["invoke"].bytes < bounds["init"].bytes < 1024
