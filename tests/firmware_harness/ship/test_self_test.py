"""The self-test detects changes, and its reader of C constants agrees with the compiler."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_harness.machines import on
from tests.firmware_harness.ship.boards import PRINT_REPORTS, link, run
from tinyscene.firmware_harness.build.targets import CORTEX_M4, HOST, Target
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.ship.constants import constant_arrays
from tinyscene.firmware_harness.ship.formats import FORMATS, export
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.firmware_harness.ship.self_test import golden_input
from tinyscene.runtime.bundle import Bundle

HEADER = """
typedef struct { float factor; } Rescale;
typedef struct { int32_t multiplier, offset; /* and
 more */ int32_t bias; uint32_t weight[2]; } Channel;
typedef struct { Rescale a[2]; float b; } Nested;
typedef struct { int8_t a; int32_t b; } Padded;
#define HALVES(low, high) (((uint32_t)(low)&0xffffu) | (uint32_t)(high) << 16)
#define ROW(n, a, b) HALVES((n) * (a), (n) * (b)), HALVES((n) * (b), 0)
#define CHANNEL(multiplier, offset, bias, a, b)                 \\
    {                                                           \\
        (multiplier), (offset), 2 * (bias), { ROW(2, a, b) }    \\
    }
#define RESCALE(multiplier, factor) { (factor) }
"""


def _one(text: str) -> bytes:
    (array,) = constant_arrays(text, HEADER)
    return array.data


def test_constants_have_the_values_of_c() -> None:
    assert _one("static const TS_ALIGNED int8_t a[3] = {\n    1, -2, 127,\n};") == b"\x01\xfe\x7f"
    assert _one("static const float a[2] = {\n    0x1.8p1f, -0x1p-3f,\n};") == struct.pack("<2f", 3.0, -0.125)
    assert _one("static const Rescale a[1] = {\n    RESCALE(7, 0x1p-1f),\n};") == struct.pack("<f", 0.5)
    assert _one("static const Nested a[1] = {\n    {{{0x1p0f}, {0x1p1f}}, 0x1p2f},\n};") == struct.pack("<3f", 1, 2, 4)
    channel = _one("static const Channel a[1] = {\n    CHANNEL(1073741824, -5, 3, -1, 4),\n};")
    assert channel == struct.pack("<3i2I", 1 << 30, -5, 6, (8 << 16) | 0xFFFE, 8)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("static const Padded a[1] = {\n    {1, 2},\n};", "unsupported type"),
        ("static const int8_t a[1] = {\n    SIZE(3),\n};", "unknown macro"),
        ("static const int8_t a[1] = {\n    size,\n};", "unsupported value"),
        ("static const Nested a[1] = {\n    {0x1p0f, 0x1p1f},\n};", "values per element"),
    ],
)
def test_unsupported_constants_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(FirmwareError, match=complaint):
        constant_arrays(text, HEADER)


@pytest.mark.parametrize("cpu", ["c99", "dsp", "mve"])
@pytest.mark.parametrize("rounding", ["double", "single"])
def test_every_constant_array_is_covered(cpu: str, rounding: str, scenes: Bundle) -> None:
    product = Product(scenes, Options(cpu=cpu, rounding=rounding), "tinyscene")
    tables = product.frontend.constant_bytes
    assert product.constant_bytes >= tables + sum(t.n_bytes for t in scenes.graph.constants() if t.dtype == "int8")
    by_name = {array.name: array.data for array in product.arrays}
    assert len(by_name["ts_window"]) == 4 * (scenes.frontend.win_length // 2 + 1)
    assert f"0x{zlib.crc32(b''.join(by_name.values())):08x}u" in product.header()


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
def test_a_flipped_constant_byte_is_detected(target: Target, product: tuple[Product, Path], tmp_path: Path) -> None:
    exported, folder = product
    image = link(target, [PRINT_REPORTS, folder / "src" / "asc.c"], [folder / "include"], tmp_path / "reports")
    assert run(target, image).lines[0] == "self-test 0"
    weights = max((array.data for array in exported.arrays), key=len)
    window = next(array.data for array in exported.arrays if array.name == "ts_window")
    for constants in (weights, window):
        data = bytearray(image.read_bytes())
        assert data.count(constants) == 1
        data[data.index(constants) + len(constants) // 2] ^= 0x10
        changed = tmp_path / "changed"
        changed.write_bytes(data)
        changed.chmod(0o755)
        ran = run(target, changed)
        assert ran.lines == ["self-test -4", "invoked -1", "null -1", "unaligned -2", "refused -1"]
        assert ran.code == 4


@pytest.mark.needs_tool("gcc")
def test_wrong_arithmetic_is_detected(product: tuple[Product, Path], tmp_path: Path) -> None:
    _, folder = product
    text = (folder / "src" / "asc.c").read_text()
    right = "return (value >> bits) + ((value & mask) > threshold ? 1 : 0);"
    assert text.count(right) == 1
    (tmp_path / "asc.c").write_text(text.replace(right, "return (value + 0 * mask * threshold) >> bits;"))
    image = link(HOST, [PRINT_REPORTS, tmp_path / "asc.c"], [folder / "include"], tmp_path / "reports")
    ran = run(HOST, image)
    assert (ran.lines[0], ran.code) == ("self-test -5", 5)
