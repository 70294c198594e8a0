"""`tinyscene firmware export`: folders compile unchanged, agree with the bundle, and share no name."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import tinyscene
from tests.firmware_harness.machines import on
from tests.firmware_harness.ship.boards import PRINT_REPORTS, Ran, link, run
from tinyscene import command_line
from tinyscene.firmware_harness.build.targets import CORTEX_M0PLUS, CORTEX_M4, CORTEX_M55, HOST, Target
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.firmware_harness.run.audio import SceneFirmware
from tinyscene.firmware_harness.ship.formats import FORMATS, contents, export
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.runtime.bundle import Bundle

OPTIONS = Options(prefix="asc")
needs_host = pytest.mark.needs_tool("gcc")
needs_arm = pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")


def _exported(bundle: Bundle, folder: Path, form: str, options: Options = OPTIONS) -> Path:
    export(Product(bundle, options, "tinyscene"), FORMATS[form], folder)
    return folder


@pytest.fixture(scope="module")
def reports_on_host(scenes: Bundle, build_folder: Path) -> Ran:
    """Output of the plain sources on this machine with sanitizers; every other build must give the same."""
    folder = _exported(scenes, build_folder / "plain", "makefile")
    sources = [PRINT_REPORTS, folder / "src" / "asc.c"]
    image = link(HOST, sources, [folder / "include"], folder / "reports", "-fsanitize=address,undefined", "-g")
    return run(HOST, image)


def _build_with_cmake(folder: Path, target: Target) -> Path:
    cross = [
        "-DCMAKE_SYSTEM_NAME=Generic",
        "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
        f"-DCMAKE_C_COMPILER={target.compiler}",
        f"-DCMAKE_C_FLAGS={' '.join(target.compile_flags)}",
    ]
    build = folder.with_name(f"{folder.name}-build")
    subprocess.run(["cmake", "-S", folder, "-B", build, *cross], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", build], check=True, capture_output=True)
    return build / "libasc.a"


def _build_with_make(folder: Path, target: Target) -> Path:
    words = [f"CROSS_COMPILE={target.toolchain.prefix}", f"CPU_FLAGS={' '.join(target.compile_flags)}"]
    subprocess.run(["make", "-C", folder, *words], check=True, capture_output=True)
    return folder / "build" / "libasc.a"


@needs_host
def test_plain_sources_pass_the_self_test_and_classify(reports_on_host: Ran, scenes: Bundle) -> None:
    assert reports_on_host.code == 0
    lines = reports_on_host.lines
    assert lines[0] == "self-test 0"
    assert lines.count("hop 0") == 2
    assert lines.count("hops 1") == 2
    assert lines[-3:] == ["null -1", "unaligned -2", "refused -6"]
    codes = np.array([i % 251 - 125 for i in range(280)], np.int8).reshape(1, 20, 14, 1)
    from tinyscene.runtime.interpreter import run as interpret

    invoked = lines.index("invoked 0")
    assert [int(line.split()[1]) for line in lines[invoked + 1 : invoked + 11]] == interpret(
        scenes.graph, codes
    ).ravel().tolist()


@needs_host
@pytest.mark.needs_tool("cmake")
@pytest.mark.parametrize("target", [on(CORTEX_M4), on(CORTEX_M55)])
def test_cmake_export_gives_the_same_on_the_cross_compiled_target(
    target: Target, scenes: Bundle, tmp_path: Path, reports_on_host: Ran
) -> None:
    folder = _exported(scenes, tmp_path / "asc", "cmake", Options(cpu=target.cpu, prefix="asc"))
    library = _build_with_cmake(folder, target)
    reports = run(target, link(target, [PRINT_REPORTS, library], [folder / "include"], tmp_path / "reports.elf"))
    assert reports == reports_on_host


@needs_host
@needs_arm
@pytest.mark.needs_tool("make")
def test_makefile_export_gives_the_same_without_a_float_unit(
    scenes: Bundle, tmp_path: Path, reports_on_host: Ran
) -> None:
    folder = _exported(scenes, tmp_path / "asc", "makefile")
    library = _build_with_make(folder, CORTEX_M0PLUS)
    reports = run(
        CORTEX_M0PLUS, link(CORTEX_M0PLUS, [PRINT_REPORTS, library], [folder / "include"], tmp_path / "reports.elf")
    )
    assert reports.code == 0
    assert [line for line in reports.lines if not line.startswith("permille")] == [
        line for line in reports_on_host.lines if not line.startswith("permille")
    ]


@needs_host
@pytest.mark.needs_tool("cmake")
@pytest.mark.parametrize("hop_s", [None, 0.3])
def test_the_example_on_this_machine_agrees_with_the_harness(
    hop_s: float | None, scenes: Bundle, tmp_path: Path
) -> None:
    folder = _exported(scenes, tmp_path / "asc", "cmake", Options(prefix="asc", hop_s=hop_s, rounding="single"))
    subprocess.run(["cmake", "-S", folder, "-B", tmp_path / "b"], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", tmp_path / "b"], check=True, capture_output=True)
    samples = np.random.default_rng(7).integers(-9000, 9000, 100_000).astype("<i2")
    example = subprocess.run([tmp_path / "b" / "asc_example"], input=samples.tobytes(), capture_output=True, check=True)
    hop_samples = None if hop_s is None else round(hop_s * scenes.frontend.sample_rate_hz)
    firmware = SceneFirmware(
        emit(scenes.graph, kernel_set_named("c99")), scenes.frontend, HOST, "single", hop_samples=hop_samples
    )
    lines = example.stdout.decode().splitlines()
    assert lines[0] == "self-test 0"
    labels = scenes.labels
    expected = [f"{labels[hop.label]}, smoothed {labels[hop.smoothed_label]}" for hop in firmware.classify(samples)]
    assert [re.sub(r"hop \d+: (.*) \d+ %", r"\1", line) for line in lines[1:]] == expected
    assert len(expected) == (3 if hop_s is None else 8)


@needs_host
def test_two_models_in_one_image_share_no_name(scenes: Bundle, tmp_path: Path) -> None:
    objects = []
    for options in (Options(prefix="one"), Options(prefix="two", rounding="single")):
        folder = _exported(scenes, tmp_path / options.prefix, "makefile", options)
        objects.append(folder / f"{options.prefix}.o")
        source = folder / "src" / f"{options.prefix}.c"
        subprocess.run(["gcc", "-O1", "-c", source, f"-I{folder / 'include'}", "-o", objects[-1]], check=True)
        listed = subprocess.run(["nm", "-g", "--defined-only", objects[-1]], capture_output=True, text=True, check=True)
        names = {line.split()[2] for line in listed.stdout.splitlines()}
        assert names == {
            f"{options.prefix}_{name}"
            for name in ("alive", "check_step", "guard_stack", "init", "invoke", "process_pcm")
        }
    both = tmp_path / "both.c"
    both.write_text(
        '#include "one.h"\n#include "two.h"\n'
        "static one_state a; static two_state b;\n"
        "static int8_t arena[ONE_ARENA_BYTES + TWO_ARENA_BYTES] __attribute__((aligned(16)));\n"
        "int main(void) { return one_init(&a, arena, 0, 0) || two_init(&b, arena, 0, 0); }\n"
    )
    includes = [f"-I{tmp_path / name / 'include'}" for name in ("one", "two")]
    subprocess.run(["gcc", both, *objects, *includes, "-lm", "-o", tmp_path / "both"], check=True)
    assert subprocess.run([tmp_path / "both"], check=False).returncode == 0


@needs_arm
def test_dsp_export_keeps_its_assembly_under_the_prefix(scenes: Bundle, tmp_path: Path) -> None:
    folder = _exported(scenes, tmp_path / "asc", "makefile", Options(cpu="dsp", prefix="asc"))
    library = _build_with_make(folder, CORTEX_M4)
    listed = subprocess.run(
        ["arm-none-eabi-nm", "-g", "--defined-only", library], capture_output=True, text=True, check=True
    )
    names = {line.split()[2] for line in listed.stdout.splitlines() if len(line.split()) == 3}
    assert {"asc_init", "asc_invoke", "asc_process_pcm"} <= names
    assert all(name.startswith("asc_") for name in names)
    wrong = subprocess.run(
        ["arm-none-eabi-gcc", "-mcpu=cortex-m0plus", "-fsyntax-only", f"-I{folder / 'include'}", folder / "src/asc.c"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode != 0
    assert "compile for a processor with DSP instructions" in wrong.stderr


@needs_host
@needs_arm
def test_every_c_file_of_every_format_compiles_unchanged(any_model: Bundle, tmp_path: Path) -> None:
    (tmp_path / "Arduino.h").write_text(
        "struct Monitor { void begin(long) {} void println(const char*) {} void println(int) {} };\n"
        "static Monitor Serial;\n"
    )
    product = Product(any_model, OPTIONS, "tinyscene")
    source = product.source().encode()
    for form in FORMATS.values():
        folder = tmp_path / form.name
        export(product, form, folder)
        assert (folder / "src" / "asc.c").read_bytes() == source  # compiled by the tests above
        strict = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{folder / form.headers}"]
        for path in (*folder.rglob("*main.c"), *folder.rglob("*_serial.c")):
            subprocess.run(["gcc", "-std=c99", *strict, path], check=True)
        for path in folder.rglob("*.ino"):
            if "<PDM.h>" in path.read_text():
                continue  # test_boards.py compiles the examples with a microphone
            subprocess.run(
                ["arm-none-eabi-g++", "-std=c++11", *strict, "-include", tmp_path / "Arduino.h", "-x", "c++", path],
                check=True,
            )


def test_exports_are_reproducible_and_replace_only_their_own(any_model: Bundle, tmp_path: Path) -> None:
    product = Product(any_model, OPTIONS, "tinyscene")
    for form in FORMATS.values():
        files = contents(product, form)
        assert files == contents(Product(any_model, OPTIONS, "tinyscene"), form)
        folder = tmp_path / form.name
        for _ in range(2):
            export(product, form, folder)
            assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(files)
        assert b"@{" not in b"".join(data for name, data in files.items() if not name.endswith(".pack"))
        assert "PRODUCT" not in b"".join(data for name, data in files.items() if name[-2:] in (".c", ".h")).decode()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FORMATS)


def test_readme_and_header_agree(scenes: Bundle) -> None:
    product = Product(scenes, Options(prefix="asc", release="2.3.4"), "tinyscene")
    files = contents(product, FORMATS["cmake"])
    header, readme = files["include/asc.h"].decode(), files["README.md"].decode()
    sizes = dict(re.findall(r"^#define ASC_(\w+) (.*)$", header, re.MULTILINE))
    assert sizes["VERSION"] == '"2.3.4"'
    assert sizes["TINYSCENE_VERSION"] == f'"{tinyscene.__version__}"'
    assert sizes["DIGEST"].strip('"') == product.emitted.digest
    assert product.emitted.digest in readme
    assert "# asc 2.3.4" in readme
    for name, words in (("ARENA", "RAM: arena"), ("STATE", "RAM: state"), ("CONSTANT", "flash: constants")):
        assert f"| {words} | {int(sizes[f'{name}_BYTES']):,} B |" in readme
    assert sizes["LABEL_COUNT"] == str(len(scenes.labels))
    assert files["LICENSE"] == (Path(tinyscene.__file__).parent.parent / "LICENSE").read_bytes()


@needs_arm
def test_measured_figures_are_in_the_readme(scenes: Bundle, tmp_path: Path, capsys) -> None:
    words = ["firmware", "export", str(scenes.path), "--as", "zephyr", "--cpu", "mve", "--measure"]
    assert command_line.main([*words, "--out", str(tmp_path / "z")]) == 0
    assert "next: read its README.md" in capsys.readouterr().out
    readme = (tmp_path / "z" / "README.md").read_text()
    bounds = [f"RAM: stack of `scene_{name}`, bound" for name in ("init", "invoke", "process_pcm")]
    measured = ("flash: code of the network", "RAM: stack of one inference, measured", "instructions of one inference")
    for words in (*measured, *bounds):
        assert re.search(rf"\| {words} \| [\d,]+", readme)


def test_refusals_are_one_line_and_exit_code_2(scenes: Bundle, tmp_path: Path, capsys) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(scenes.path, changed)
    data = bytearray((changed / "graph.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (changed / "graph.npz").write_bytes(data)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    good = str(scenes.path)
    for words, expected in (
        ([good, "--as", "keil"], "format: unknown; expected cmake or makefile or arduino or"),
        ([good, "--as", "cmake", "--out", str(other)], "exists and has other files; expected a new folder"),
        ([good, "--as", "cmake", "--out", str(tmp_path / "no" / "where")], "its parent folder does not exist"),
        ([str(changed), "--as", "cmake"], "graph.npz: changed since the bundle was written"),
        ([good, "--as", "cmake", "--prefix", "2fast"], "prefix: invalid; expected a C identifier"),
        ([good, "--as", "cmake", "--prefix", "a-b"], "prefix: invalid; expected a C identifier"),
        ([good, "--as", "cmake", "--prefix", "string"], "prefix: already used by the C library"),
        ([good, "--as", "cmake", "--release", "1.0"], "release: invalid; expected three numbers"),
        ([good, "--as", "cmake", "--cpu", "avx"], "kernel set: unknown; expected c99"),
        ([good, "--as", "cmake", "--hop", "0.0001"], "samples between results"),
        ([good, "--as", "cmake", "--optimise", "most"], "most"),
        ([str(tmp_path / "none"), "--as", "cmake"], "no such bundle"),
    ):
        assert command_line.main(["firmware", "export", *words]) == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert message.count("\n") == 1
        assert expected in message
    assert (other / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changed", "other"]
    assert [path.name for path in scenes.path.parent.iterdir()] == [scenes.path.name]


def test_firmware_is_a_command_and_a_group(scenes: Bundle, tmp_path: Path, capsys) -> None:
    assert command_line.main(["firmware", "--help"]) == 0
    output = capsys.readouterr().out
    assert "MODEL" in output
    assert "tinyscene firmware export, tinyscene firmware serial" in output
    assert command_line.main(["firmware", "export", "--help"]) == 0
    assert "--as" in capsys.readouterr().out
    assert command_line.main(["firmware", "exprot"]) == 2
    assert "firmware exprot: no such command; expected firmware export" in capsys.readouterr().err
