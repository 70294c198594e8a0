"""Flipped bits in the constants of a linked product, and how each is noticed."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.firmware_harness.ship.boards import link, run
from tests.graphs import random_input, small_net
from tinyscene.firmware_harness.build.targets import Target
from tinyscene.firmware_harness.ship.formats import FORMATS, export
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.runtime.bundle import BundleContent, Golden, read_bundle, write_bundle
from tinyscene.runtime.manifest import Provenance
from tinyscene.runtime.spec import Arithmetic, preset

FLIP_BITS = Path(__file__).with_name("flip_bits.c")
OUTCOMES = {
    1: "checksum of the constants",
    2: "golden vector",
    3: "checksum of the linked image",
    4: "harmless",
    5: "silently wrong",
    6: "crashed",
}
CAUGHT = {1, 2, 3}
LABELS = tuple(f"scene_{i}" for i in range(10))
SPEC = replace(preset("cpm23"), name="short", n_fft=256, win_length=200, hop_length=200, n_mels=20, clip_samples=2800)


@dataclass(frozen=True)
class Flipped:
    """An image, the address ranges [begin, end) of its .rodata and, in it, of the emitted constants."""

    target: Target
    image: Path
    rodata: tuple[int, int]
    constants: tuple[tuple[int, int], ...]

    def bits(self) -> np.ndarray:
        """Every bit of .rodata, uint32 (n, 2): address and bit."""
        begin, end = self.rodata
        index = np.arange(8 * (end - begin), dtype=np.uint32)
        return np.stack([begin + index // 8, index % 8], axis=1).astype("<u4")

    def in_constants(self, bits: np.ndarray) -> np.ndarray:
        """Whether each bit belongs to the emitted constants."""
        return np.any([(begin <= bits[:, 0]) & (bits[:, 0] < end) for begin, end in self.constants], axis=0)

    def outcomes(self, bits: np.ndarray) -> np.ndarray:
        """The outcome of each flip, a key of :data:`OUTCOMES`."""
        folder = self.image.parent
        (folder / "flips.bin").write_bytes(bits.tobytes())
        ran = run(self.target, self.image, timeout_seconds=3600.0)
        assert ran.code == 0, ran
        outcomes = np.frombuffer((folder / "outcomes.bin").read_bytes(), np.uint8)
        assert outcomes.size == len(bits)
        return outcomes


def counts(outcomes: np.ndarray) -> dict[str, int]:
    """Number of flips by outcome."""
    found = Counter(outcomes.tolist())
    return {name: found.get(code, 0) for code, name in OUTCOMES.items()}


def small_product(folder: Path, cpu: str, arithmetic: Arithmetic) -> Product:
    """A network with GRN and a front end of 256 points in this arithmetic."""
    graph = replace(small_net(np.random.default_rng(3), grn=True, shape=(SPEC.n_mels, SPEC.n_frames, 1)), labels=LABELS)
    golden = Golden.of(graph, random_input(np.random.default_rng(4), graph, 1))
    content = BundleContent(graph, replace(SPEC, arithmetic=arithmetic), b"TFL3", b"onnx", golden)
    write_bundle(folder / "bundle", content, Provenance("synthetic", {}, {}))
    return Product(read_bundle(folder / "bundle"), Options(cpu=cpu, prefix="asc"), "tinyscene")


def build_flipped(target: Target, folder: Path, arithmetic: Arithmetic = "float") -> Flipped:
    """Export, link and locate the constants, those of the front end in this arithmetic among them."""
    product = small_product(folder, target.cpu, arithmetic)
    export(product, FORMATS["makefile"], folder / "asc")
    flags: Sequence[str] = ("-no-pie", "-fno-pie", "-D_GNU_SOURCE") if target.emulator is None else ()
    image = folder / "flip_bits"
    link(target, [FLIP_BITS, folder / "asc" / "src" / "asc.c"], [folder / "asc" / "include"], image, *flags)
    listing = _output(target, "objdump", "-h", image)
    section = re.search(r"^ *\d+ \.rodata +([0-9a-f]+) +([0-9a-f]+)", listing, re.MULTILINE)
    assert section is not None
    size, begin = (int(text, 16) for text in section.groups())
    symbols = _output(target, "nm", "-S", image)
    blocks = re.findall(r"^([0-9a-f]+) ([0-9a-f]+) \w asc_\w+_(?:constants|tables)$", symbols, re.MULTILINE)
    constants = tuple((int(at, 16), int(at, 16) + int(length, 16)) for at, length in blocks)
    assert sum(end - at for at, end in constants) == product.constant_bytes
    return Flipped(target, image, (begin, begin + size), constants)


def _output(target: Target, tool: str, *words: str | Path) -> str:
    command = [target.toolchain.tool(tool), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
