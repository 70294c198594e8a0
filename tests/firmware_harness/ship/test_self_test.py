"""The self-test detects changes, and its reader of C constants agrees with the compiler."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tests.firmware_harness.machines import on
from tests.firmware_harness.ship.boards import PRINT_REPORTS, link, run
from tests.firmware_harness.ship.flips import CAUGHT, build_flipped, counts
from tinyscene.firmware_harness.build.targets import CORTEX_M4, HOST, SANITIZERS, Target
from tinyscene.firmware_harness.emit.constant_bytes import ConstantBytes, constant_bytes
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.ship.formats import FORMATS, export
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.firmware_harness.ship.self_test import golden_input
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.spec import Arithmetic

HERE = Path(__file__).resolve().parent
HEADER = """
typedef int32_t Offset;
typedef struct { float factor; } Rescale;
typedef struct { int32_t multiplier, offset; /* and
 more */ int32_t bias; uint32_t weight[2]; } Channel;
typedef struct { Rescale a[2]; float b; } Nested;
typedef struct { Nested inner; int32_t size; int32_t at; } Record;
typedef struct { int8_t a; int32_t b; } Padded;
#define HALVES(low, high) (((uint32_t)(low)&0xffffu) | (uint32_t)(high) << 16)
#define ROW(n, a, b) HALVES((n) * (a), (n) * (b)), HALVES((n) * (b), 0)
#define CHANNEL(multiplier, offset, bias, a, b)                 \\
    {                                                           \\
        (multiplier), (offset), 2 * (bias), { ROW(2, a, b) }    \\
    }
#define RESCALE(multiplier, factor) { (factor) }
"""


def _read(declarations: str, initialisers: str) -> ConstantBytes:
    text = f"typedef struct {{\n{declarations}\n}} Block;\n\nstatic const Block block = {{\n{initialisers}\n}};\n"
    return constant_bytes(text, "block", HEADER, {})


def _one(declaration: str, values: str) -> bytes:
    (member,) = _read(f"    {declaration};", f"    .a = {values},").members
    return member.little


def test_constants_have_the_values_of_c() -> None:
    assert _one("int8_t a[4]", "{\n    1, -2, 127,\n}") == b"\x01\xfe\x7f\0"
    assert _one("float a[2]", "{ 0x1.8p1f, -0x1p-3f, }") == struct.pack("<2f", 3.0, -0.125)
    assert _one("Rescale a[1]", "{ RESCALE(7, 0x1p-1f), }") == struct.pack("<f", 0.5)
    assert _one("Nested a[1]", "{ {{{0x1p0f}, {0x1p1f}}, 0x1p2f}, }") == struct.pack("<3f", 1, 2, 4)
    channel = _one("Channel a[1]", "{ CHANNEL(1073741824, -5, 3, -1, 4), }")
    assert channel == struct.pack("<3i2I", 1 << 30, -5, 6, (8 << 16) | 0xFFFE, 8)


def test_records_have_the_distances_to_their_arrays() -> None:
    """A record is before its array, or after it; members without an initialiser are zero."""
    block = _read(
        "    int16_t before[2];\n    Record record;\n    int8_t after[4];",
        "    .before = { 1, 258, },\n    /* comment, with a comma */\n    .record = {\n"
        "        .inner = {.b = 0x1p0f}, .size = 7,\n        .at = TS_TO(after, record.size),\n    },",
    )
    assert [member.name for member in block.members] == ["before", "record", "after"]
    assert block.members[1].little == struct.pack("<3f2i", 0, 0, 1, 7, 8)
    assert (block.members[0].little, block.members[0].big) == (b"\x01\0\x02\x01", b"\0\x01\x01\x02")
    assert block.members[2].little == bytes(4)
    assert block.size == 28
    assert block.crc32[0] == zlib.crc32(b"".join(member.little for member in block.members))
    assert block.crc32[1] == zlib.crc32(b"".join(member.big for member in block.members))


@pytest.mark.parametrize(
    ("declaration", "values", "complaint"),
    [
        ("Padded a[1]", "{ {1, 2}, }", "members of several sizes"),
        ("Unknown a[1]", "{ {1, 2}, }", "unsupported type"),
        ("int8_t a[4]", "{ SIZE(3), }", "unknown macro"),
        ("int8_t a[4]", "{ size, }", "unsupported value"),
        ("int8_t a[4]", "{ 1, 2, 3, 4, 5, }", "too many elements"),
        ("int8_t a[3]", "{ 1, 2, 3, }", "not a whole number of words"),
        ("int32_t a[1]", "3", "values in braces expected"),
        ("Nested a[1]", "{ {.c = 3}, }", "initialiser without a member"),
        ("int32_t a", "TS_TO(b, a)", "no such member"),
    ],
)
def test_unsupported_constants_are_refused(declaration: str, values: str, complaint: str) -> None:
    with pytest.raises(FirmwareError, match=complaint):
        _one(declaration, values)


@pytest.mark.parametrize("cpu", ["c99", "dsp", "mve"])
@pytest.mark.parametrize("rounding", ["double", "single"])
def test_every_record_and_array_is_covered(cpu: str, rounding: str, scenes: Bundle) -> None:
    product = Product(scenes, Options(cpu=cpu, rounding=rounding), "tinyscene")
    network, spectrum, mel = product.constants
    names = {member.name for member in network.members}
    assert {f"layer_{i}" for i in range(len(product.emitted.calls))} <= names
    assert network.size >= sum(t.n_bytes for t in scenes.graph.constants() if t.dtype == "int8")
    assert product.constant_bytes == network.size + spectrum.size + mel.size
    window = next(member for member in spectrum.members if member.name == "window")
    assert len(window.little) == 4 * (scenes.frontend.win_length // 2 + 1)
    source = product.source()
    for part in (network, spectrum, mel):
        assert all(f"0x{crc:08x}u" in source for crc in part.crc32)
    assert "*" not in _declared_structure(source)  # no address among the constants


def _declared_structure(source: str) -> str:
    return source.partition("TsModelConstants;")[0].rpartition("typedef struct {")[2]


def test_golden_input_is_noise_over_every_code(scenes: Bundle) -> None:
    codes = golden_input(scenes.graph)
    assert codes.shape == scenes.graph.tensors[scenes.graph.input].shape
    assert np.unique(codes).size > 150


@pytest.fixture(scope="module")
def product(scenes: Bundle, build_folder: Path) -> tuple[Product, Path]:
    product = Product(scenes, Options(prefix="asc"), "tinyscene")
    export(product, FORMATS["makefile"], build_folder / "tested")
    return product, build_folder / "tested"


@pytest.mark.parametrize("target", [on(HOST), on(CORTEX_M4)])
def test_a_flipped_constant_byte_is_detected_at_boot(
    target: Target, product: tuple[Product, Path], tmp_path: Path
) -> None:
    """Weights, a record and a window: on this machine by the emitted checksum, on the board by that of the image."""
    exported, folder = product
    image = link(target, [PRINT_REPORTS, folder / "src" / "asc.c"], [folder / "include"], tmp_path / "reports")
    assert run(target, image).lines[0] == "self-test 0"
    network, spectrum, _ = exported.constants
    weights = max((member.little for member in network.members), key=len)
    record = next(member.little for member in network.members if member.name == "layer_0")
    for constants in (weights, record, spectrum.members[0].little):
        data = bytearray(image.read_bytes())
        assert data.count(constants) == 1
        data[data.index(constants) + len(constants) // 2] ^= 0x10
        changed = tmp_path / "changed"
        changed.write_bytes(data)
        changed.chmod(0o755)
        ran = run(target, changed)
        if target is HOST:
            assert ran.lines == ["self-test -4", "invoked -6", "null -1", "unaligned -2", "refused -6"]
            assert ran.code == 4
        else:
            assert (ran.code, ran.lines) == (16, [])


@pytest.mark.parametrize("arithmetic", get_args(Arithmetic))
@pytest.mark.parametrize("target", [on(HOST), on(CORTEX_M4)])
def test_flipped_bits_are_caught(target: Target, arithmetic: Arithmetic, tmp_path: Path) -> None:
    """A sample; ``benchmarks/bit_flips.py`` flips all. A linked image has a checksum of all of .rodata."""
    flipped = build_flipped(target, tmp_path, arithmetic)
    bits = flipped.bits()
    bits = bits[np.random.default_rng(0).choice(len(bits), 400 if target is HOST else 60, replace=False)]
    if target is HOST:
        bits = bits[flipped.in_constants(bits)]
    outcomes = flipped.outcomes(bits)
    assert np.isin(outcomes, list(CAUGHT)).all(), counts(outcomes)
    assert (outcomes[flipped.in_constants(bits)] == 1).all()


@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("hop_s", [None, 0.075], ids=["clips", "overlap"])
@pytest.mark.parametrize("model", ["scenes", "integer_scenes"])
def test_states_are_guarded_and_checks_run_in_steps(
    hop_s: float | None, model: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bundle = request.getfixturevalue(model)
    export(Product(bundle, Options(prefix="asc", hop_s=hop_s), "tinyscene"), FORMATS["makefile"], tmp_path / "asc")
    sources = [HERE / "state_check.c", tmp_path / "asc" / "src" / "asc.c"]
    flags = (*SANITIZERS, "-O1")
    ran = run(HOST, link(HOST, sources, [tmp_path / "asc" / "include"], tmp_path / "check", *flags))
    assert ran.code == 0, ran


@pytest.mark.needs_tool("gcc")
def test_wrong_arithmetic_is_detected(product: tuple[Product, Path], tmp_path: Path) -> None:
    _, folder = product
    text = (folder / "src" / "asc.c").read_text()
    right = "return shift >= 0 ? value : (((value - (value < 0)) >> (-shift - 1)) + 1) >> 1;"
    assert text.count(right) == 1
    (tmp_path / "asc.c").write_text(text.replace(right, "return shift >= 0 ? value : value >> -shift;"))
    image = link(HOST, [PRINT_REPORTS, tmp_path / "asc.c"], [folder / "include"], tmp_path / "reports")
    ran = run(HOST, image)
    assert (ran.lines[0], ran.code) == ("self-test -5", 5)
