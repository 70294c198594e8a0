"""Image formats contain the same bytes, and `tinyscene flash` refuses invalid images before it accesses a board."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.firmware_harness.machines import on
from tinyscene import command_line
from tinyscene.firmware_harness.build.targets import CORTEX_M4, CORTEX_M55, Target
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.firmware_harness.ship.images import ImageFormat, Segment, convert, read_image
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.install_hint import install_hint

CHIP = "stm32l475xg"  # flash 0x08000000-0x080fffff
needs_pyocd = pytest.mark.needs_module("pyocd")


def _image(bundle: Bundle, target: Target, folder: Path) -> Path:
    image = FirmwareEngine(bundle.graph, target, folder=folder).product_image()
    assert image is not None
    return image.path


def _same_but_for_padding(elf: list[Segment], other: list[Segment]) -> bool:
    """An ELF segment contains the few bytes between its sections, which Intel HEX leaves out."""
    bytes_of_elf = {part.address + i: byte for part in elf for i, byte in enumerate(part.data)}
    same = all(bytes_of_elf.pop(part.address + i) == byte for part in other for i, byte in enumerate(part.data))
    return same and len(bytes_of_elf) < 32


@pytest.mark.parametrize("target", [on(CORTEX_M4), on(CORTEX_M55)])
def test_formats_contain_the_same_bytes(target: Target, scenes: Bundle, tmp_path: Path) -> None:
    elf, as_hex, as_bin = _image(scenes, target, tmp_path), tmp_path / "f.hex", tmp_path / "f.bin"
    convert(elf, target, ImageFormat.HEX, as_hex)
    parts = read_image(elf)
    assert _same_but_for_padding(parts, read_image(as_hex))
    if target is CORTEX_M55:  # vectors are in tightly coupled memory, code in DRAM
        with pytest.raises(FirmwareError, match=r"lie far apart.*; expected .*; got .*; next: use --image hex"):
            convert(elf, target, ImageFormat.BIN, as_bin)
        return
    convert(elf, target, ImageFormat.BIN, as_bin)
    bare = as_bin.read_bytes()
    for part in parts:
        assert bare[part.address : part.end] == part.data
    assert len(bare) == parts[-1].end
    assert read_image(as_bin, 0x1000) == [Segment(0x1000, bare)]


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
def test_bare_bytes_run_as_the_elf_does(scenes: Bundle, tmp_path: Path) -> None:
    assert CORTEX_M4.emulator is not None
    elf, as_bin = _image(scenes, CORTEX_M4, tmp_path), tmp_path / "f.bin"
    convert(elf, CORTEX_M4, ImageFormat.BIN, as_bin)
    golden = scenes.golden()
    expected = golden.activations["double"][scenes.graph.output][0].tobytes()
    for image in (elf, as_bin):
        folder = tmp_path / image.suffix[1:]
        folder.mkdir()
        (folder / "vectors.bin").write_bytes(golden.inputs[0].tobytes())
        command = [
            *("qemu-system-arm", "-M", CORTEX_M4.emulator.machine, "-display", "none", "-monitor", "none"),
            *("-serial", "none", "-semihosting-config", "enable=on,target=native", "-kernel", str(image)),
        ]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
        assert (folder / "output.bin").read_bytes() == expected


@pytest.mark.needs_module("intelhex")
@pytest.mark.needs_tool("arm-none-eabi-gcc")
def test_intel_hex_is_read_as_objcopy_reads_it(scenes: Bundle, tmp_path: Path) -> None:
    path, bare = tmp_path / "f.hex", tmp_path / "f.bin"
    convert(_image(scenes, CORTEX_M4, tmp_path), CORTEX_M4, ImageFormat.HEX, path)
    objcopy = CORTEX_M4.toolchain.tool("objcopy")
    subprocess.run([objcopy, "-I", "ihex", "-O", "binary", str(path), str(bare)], check=True)
    segments, expected = read_image(path), bare.read_bytes()
    base = segments[0].address
    assert segments[-1].end - base == len(expected)
    for segment in segments:
        assert expected[segment.address - base : segment.end - base] == segment.data
    segmented = tmp_path / "s.hex"
    segmented.write_text(":020000021000EC\n:0100020042BB\n:0400000312345678E5\n:00000001FF\n")
    assert read_image(segmented) == [Segment(0x10002, b"\x42")]


def _elf(*headers: tuple[int, bytes]) -> bytes:
    """A 32-bit ELF file with one loadable segment for each (address, data)."""
    table, body = b"", b""
    for address, data in headers:
        at = 52 + 32 * len(headers) + len(body)
        fields = (1, at, address, address, len(data), len(data), 5, 4)
        table += b"".join(field.to_bytes(4, "little") for field in fields)
        body += data
    head = b"\x7fELF\x01\x01\x01" + bytes(9) + bytes(12) + (52).to_bytes(4, "little") + bytes(10)
    head += (32).to_bytes(2, "little") + len(headers).to_bytes(2, "little") + bytes(6)
    return head + table + body


@pytest.mark.needs_module("elftools", "intelhex")
@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("a.elf", b"\x7fELF\x02\x01" + bytes(60), "not for a microcontroller"),
        ("a.elf", _elf((0, b"abcd"))[:-2], "truncated; expected 88 B; got 86 B"),
        ("a.elf", _elf((0, b"abcd"))[:60], "damaged or truncated ELF file"),
        ("a.elf", b"\x7fELF\x01\x01", "damaged or truncated ELF file"),
        ("a.elf", _elf(), "contains nothing to write"),
        ("a.bin", b"", "contains nothing to write"),
        ("a.hex", b":0100000042BD\n", "no end record"),
        ("a.hex", b":0100000042BC\n:00000001FF\n", "damaged Intel HEX; got .* line 1"),
        ("a.hex", b":01000000zzBD\n:00000001FF\n", "damaged Intel HEX; got .* line 1"),
        ("a.hex", b":00000009F7\n:00000001FF\n", "damaged Intel HEX; got .* line 1"),
        ("a.hex", b":0100000042BD\n:0100000043BC\n:00000001FF\n", "damaged Intel HEX; got .*overlap"),
        ("a.bin", b"1234", "next: give --address"),
        ("a.txt", b"words", "not an image"),
    ],
)
def test_damaged_images_are_refused(name: str, data: bytes, complaint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FirmwareError, match=complaint):
        read_image(tmp_path / name, 0 if name == "a.bin" and not data else None)


@pytest.mark.needs_tool("arm-none-eabi-gcc")
def test_the_command_writes_images(scenes: Bundle, tmp_path: Path, capsys) -> None:
    words = ["firmware", str(scenes.path), "--out", str(tmp_path / "c"), "--image", "hex", "--image", "bin"]
    for _ in range(2):  # and replaces them
        assert command_line.main(words) == 0
        parts = [read_image(tmp_path / "c" / f"firmware.{form}") for form in ("elf", "hex")]
        assert _same_but_for_padding(*parts)
        assert (tmp_path / "c" / "firmware.bin").stat().st_size > 10_000
    assert command_line.main([*words, "--target", "host"]) == 2
    assert "--image: no image is written for this machine" in capsys.readouterr().err


@needs_pyocd
def test_a_dry_run_checks_the_image_against_the_chip(tmp_path: Path, capsys) -> None:
    image = tmp_path / "board.elf"
    image.write_bytes(_elf((0x08000000, bytes(300)), (0x0800012C, b"rest")))
    assert command_line.main(["flash", str(image), "--chip", CHIP, "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert "0x08000000-0x0800012f  304 B" in output
    assert f"dry run: nothing was written to {CHIP}" in output
    bare = tmp_path / "board.bin"
    bare.write_bytes(bytes(100))
    assert command_line.main(["flash", str(bare), "--chip", CHIP.upper(), "--address", "0x08001000", "--dry-run"]) == 0
    for words, expected in (
        ([str(bare), "--chip", CHIP, "--address", "0x20000000"], "outside of the flash of stm32l475xg"),
        ([str(bare), "--chip", CHIP, "--address", "0x080fffff"], "expected 0x08000000-0x080fffff"),
        ([str(bare), "--chip", CHIP, "--address", "flash"], "--address: not an address"),
        ([str(bare), "--chip", "stm32l475xy", "--address", "0"], "unknown to pyOCD; expected stm32l475"),
        ([str(bare), "--chip", CHIP], "give --address"),
        ([str(tmp_path / "none.elf"), "--chip", CHIP], "none.elf: no such file"),
    ):
        assert command_line.main(["flash", *words, "--dry-run"]) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert expected in message


@needs_pyocd
def test_no_probe_is_one_line(tmp_path: Path, capsys) -> None:
    image = tmp_path / "board.elf"
    image.write_bytes(_elf((0x08000000, bytes(64))))
    assert command_line.main(["flash", str(image), "--chip", CHIP, "--probe", "tinyscene-has-no-such-probe"]) == 2
    message = capsys.readouterr().err
    assert message == (
        "error: debug probe: none with 'tinyscene-has-no-such-probe' in its serial number is connected; "
        "next: connect one; --dry-run needs none\n"
    )


def test_without_pyocd_the_package_is_named(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "board.elf"
    image.write_bytes(_elf((0x08000000, bytes(64))))
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyocd"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyocd", None)
    assert command_line.main(["flash", str(image), "--chip", CHIP, "--dry-run"]) == 2
    message = capsys.readouterr().err
    assert "needs the Python package pyocd" in message
    assert f"next: {install_hint('flash')}" in message
