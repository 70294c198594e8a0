"""Image formats hold the same bytes, and `tinyscene flash` refuses what would not run before it touches a board."""

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
from tinyscene.firmware_harness.ship.images import Segment, convert, read_image
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.install_hint import install_hint

CHIP = "stm32l475xg"  # flash 0x08000000-0x080fffff
needs_pyocd = pytest.mark.needs_module("pyocd")


def _image(bundle: Bundle, target: Target, folder: Path) -> Path:
    image = FirmwareEngine(bundle.graph, target, folder=folder).product_image()
    assert image is not None
    return image.path


def _same_but_for_padding(elf: list[Segment], other: list[Segment]) -> bool:
    """An ELF segment has the few bytes between its sections, which hex leaves out."""
    there = {part.address + i: byte for part in elf for i, byte in enumerate(part.data)}
    same = all(there.pop(part.address + i) == byte for part in other for i, byte in enumerate(part.data))
    return same and len(there) < 32


@pytest.mark.parametrize("target", [on(CORTEX_M4), on(CORTEX_M55)])
def test_formats_hold_the_same_bytes(target: Target, scenes: Bundle, tmp_path: Path) -> None:
    elf, as_hex, as_bin = _image(scenes, target, tmp_path), tmp_path / "f.hex", tmp_path / "f.bin"
    convert(elf, target, "hex", as_hex)
    parts = read_image(elf)
    assert _same_but_for_padding(parts, read_image(as_hex))
    if target is CORTEX_M55:  # vectors in tightly coupled memory, code in DRAM
        with pytest.raises(FirmwareError, match=r"lie far apart.*; expected .*; got .*; next: take hex"):
            convert(elf, target, "bin", as_bin)
        return
    convert(elf, target, "bin", as_bin)
    bare = as_bin.read_bytes()
    for part in parts:
        assert bare[part.address : part.end] == part.data
    assert len(bare) == parts[-1].end
    assert read_image(as_bin, 0x1000) == [Segment(0x1000, bare)]


@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
def test_bare_bytes_run_as_the_elf_does(scenes: Bundle, tmp_path: Path) -> None:
    assert CORTEX_M4.emulator is not None
    elf, as_bin = _image(scenes, CORTEX_M4, tmp_path), tmp_path / "f.bin"
    convert(elf, CORTEX_M4, "bin", as_bin)
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
def test_intel_hex_is_read_as_others_read_it(scenes: Bundle, tmp_path: Path) -> None:
    from intelhex import IntelHex

    path = tmp_path / "f.hex"
    convert(_image(scenes, CORTEX_M55, tmp_path), CORTEX_M55, "hex", path)
    other = IntelHex(str(path))
    assert [(part.address, part.end) for part in read_image(path)] == other.segments()
    for part in read_image(path):
        assert bytes(other.tobinarray(part.address, part.end - 1)) == part.data
    segmented = tmp_path / "s.hex"
    segmented.write_text(":020000021000EC\n:0100020042BB\n:0400000312345678E5\n:00000001FF\n")
    assert read_image(segmented) == [Segment(0x10002, b"\x42")]


def _elf(*headers: tuple[int, bytes]) -> bytes:
    """A 32-bit ELF file with one loadable segment for each (address, data)."""
    table, body = b"", b""
    for address, data in headers:
        at = 52 + 32 * len(headers) + len(body)
        words = (1, at, address, address, len(data), len(data), 5, 4)
        table += b"".join(word.to_bytes(4, "little") for word in words)
        body += data
    head = b"\x7fELF\x01\x01\x01" + bytes(9) + bytes(12) + (52).to_bytes(4, "little") + bytes(10)
    head += (32).to_bytes(2, "little") + len(headers).to_bytes(2, "little") + bytes(6)
    return head + table + body


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("a.elf", b"\x7fELF\x02\x01" + bytes(60), "not for a microcontroller"),
        ("a.elf", _elf((0, b"abcd"))[:-2], "is cut short"),
        ("a.elf", _elf((0, b"abcd"))[:60], "is cut short"),
        ("a.elf", _elf(), "holds nothing to write"),
        ("a.hex", b":0100000042BD\n", "no end record"),
        ("a.hex", b":0100000042BC\n:00000001FF\n", "line 1: not a record"),
        ("a.hex", b":01000000zzBD\n", "line 1: not a record"),
        ("a.hex", b":00000009F7\n", "unknown record"),
        ("a.bin", b"1234", "next: give --address"),
        ("a.txt", b"words", "not an image"),
    ],
)
def test_damaged_images_are_refused(name: str, data: bytes, complaint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FirmwareError, match=complaint):
        read_image(tmp_path / name)


@pytest.mark.needs_tool("arm-none-eabi-gcc")
def test_the_command_writes_images(scenes: Bundle, tmp_path: Path, capsys) -> None:
    words = ["firmware", str(scenes.path), "--out", str(tmp_path / "c"), "--image", "hex", "--image", "bin"]
    for _ in range(2):  # and replaces them
        assert command_line.main(words) == 0
        parts = [read_image(tmp_path / "c" / f"firmware.{form}") for form in ("elf", "hex")]
        assert _same_but_for_padding(*parts)
        assert (tmp_path / "c" / "firmware.bin").stat().st_size > 10_000
    assert command_line.main([*words, "--target", "host"]) == 2
    assert "--image: there is no image for this machine" in capsys.readouterr().err


@needs_pyocd
def test_a_dry_run_checks_the_image_against_the_chip(tmp_path: Path, capsys) -> None:
    image = tmp_path / "board.elf"
    image.write_bytes(_elf((0x08000000, bytes(300)), (0x0800012C, b"rest")))
    assert command_line.main(["flash", str(image), "--chip", CHIP, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "0x08000000-0x0800012f  304 B" in said
    assert f"dry run: nothing was written to {CHIP}" in said
    bare = tmp_path / "board.bin"
    bare.write_bytes(bytes(100))
    assert command_line.main(["flash", str(bare), "--chip", CHIP.upper(), "--address", "0x08001000", "--dry-run"]) == 0
    for words, expected in (
        ([str(bare), "--chip", CHIP, "--address", "0x20000000"], "does not lie in the flash of stm32l475xg"),
        ([str(bare), "--chip", CHIP, "--address", "0x080fffff"], "expected 0x08000000-0x080fffff"),
        ([str(bare), "--chip", CHIP, "--address", "flash"], "--address: no address"),
        ([str(bare), "--chip", "stm32l475xy", "--address", "0"], "not known to pyOCD; expected stm32l475"),
        ([str(bare), "--chip", CHIP], "give --address"),
        ([str(tmp_path / "none.elf"), "--chip", CHIP], "none.elf: No such file"),
    ):
        assert command_line.main(["flash", *words, "--dry-run"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert expected in said


@needs_pyocd
def test_no_probe_is_one_line(tmp_path: Path, capsys) -> None:
    image = tmp_path / "board.elf"
    image.write_bytes(_elf((0x08000000, bytes(64))))
    assert command_line.main(["flash", str(image), "--chip", CHIP, "--probe", "tinyscene-has-no-such-probe"]) == 2
    said = capsys.readouterr().err
    assert said == (
        "error: debug probe: none with 'tinyscene-has-no-such-probe' in its number is connected; "
        "next: connect one; --dry-run needs none\n"
    )


def test_without_pyocd_the_package_is_named(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "board.elf"
    image.write_bytes(_elf((0x08000000, bytes(64))))
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyocd"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyocd", None)
    assert command_line.main(["flash", str(image), "--chip", CHIP, "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "needs the Python package pyocd" in said
    assert f"next: {install_hint('flash')}" in said
