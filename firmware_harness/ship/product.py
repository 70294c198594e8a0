"""A model as a product: one C file in which everything is static, one public header, and the figures of both.

Names of the public interface begin with a prefix, so that an image can contain several models. Refuses a prefix that is
not a C identifier, that tinyscene itself uses, or under which the header would shadow one of the C library's, and a
release that is not three numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.cost import graph_cost
from tinyscene.runtime.model import AudioModel
from tinyscene.runtime.plan import ALIGNMENT
from tinyscene.runtime.smoothing import SMOOTHED_HOPS

from ..build.targets import PORT_FOLDER
from ..cpu.kernel_sets import kernel_set_named
from ..emit.c_text import float_literal, integer, plain, string
from ..emit.constant_block import ROUNDING_MACRO
from ..emit.constant_bytes import ConstantBytes
from ..emit.log_mel import (
    EmittedFrontend,
    emit_frontend,
    frontend_sources,
    samples_of_hop,
    scene_arena_bytes,
    scene_sources,
)
from ..emit.model import Emitted, emit, model_constants
from ..emit.schedule import Optimise
from ..emit.version import version_macros
from ..errors import FirmwareError
from .amalgamate import Source, amalgamate
from .self_test import self_test_header
from .serial_program import C_FOLDER, MODEL_HEADER, PROTOCOL, SerialOptions, serial_model_header

STACK_GUARD = PORT_FOLDER / "cortex_m" / "ts_stack_guard.h"
DEFAULT_PREFIX = "scene"
DEFAULT_RELEASE = "1.0.0"
LONGEST_PREFIX = 31
_SIZES = re.compile(r'^.*"product_sizes\.h"$', re.MULTILINE)
STATE_SLACK_BYTES = 152  # counters and pointers besides the samples; the C checks at compile time that it suffices
C_LIBRARY_HEADERS = frozenset(
    {"assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "math"}
    | {"setjmp", "signal", "stdalign", "stdarg", "stdatomic", "stdbool", "stddef", "stdint", "stdio", "stdlib"}
    | {"stdnoreturn", "string", "tgmath", "threads", "time", "uchar", "wchar", "wctype"}
)


@dataclass(frozen=True)
class Options:
    """Options of an exported product. ``hop_s``: seconds between results, a clip by default."""

    cpu: str = "c99"
    optimise: Optimise = "speed"
    rounding: Rounding = "double"
    prefix: str = DEFAULT_PREFIX
    release: str = DEFAULT_RELEASE
    hop_s: float | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.prefix) or len(self.prefix) > LONGEST_PREFIX:
            expected = f"a C identifier that begins with a letter, at most {LONGEST_PREFIX} long"
            raise FirmwareError("prefix", "invalid", expected=expected, got=repr(self.prefix))
        if self.prefix.lower() in C_LIBRARY_HEADERS | {"ts", "model", "frontend"}:
            what = "already used by the C library or by tinyscene"
            raise FirmwareError("prefix", what, expected=f"another name, such as {DEFAULT_PREFIX}", got=self.prefix)
        if not re.fullmatch(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){2}", self.release):
            raise FirmwareError("release", "invalid", expected="three numbers, such as 1.0.0", got=repr(self.release))


class Product:
    """A model as two files of C.

    Args:
        model: network, front end and labels.
        options: see :class:`Options`.
        generator: name and version of the exporting program, such as ``tinyscene 0.1.0``.

    Raises:
        FirmwareError: the graph or the front end is not supported in C. RuntimeFailure: the hop is no duration.
    """

    def __init__(self, model: AudioModel, options: Options, generator: str) -> None:
        self.model, self.options, self.generator = model, options, generator
        spec = model.frontend
        self.graph = model.graph
        self.emitted: Emitted = emit(self.graph, kernel_set_named(options.cpu), options.optimise)
        quant = self.graph.tensors[self.graph.input].quant
        self.hop_samples = samples_of_hop(spec, options.hop_s)
        self.frontend: EmittedFrontend = emit_frontend(spec, quant, hop_samples=self.hop_samples)

    @property
    def prefix(self) -> str:
        """Prefix of the public C names."""
        return self.options.prefix

    @cached_property
    def constants(self) -> tuple[ConstantBytes, ...]:
        """All constants: those of the network, layer records included, and the tables of the front end."""
        network = model_constants(self.emitted.model_c, self.emitted.kernels, self.options.rounding)
        return (network, *self.frontend.tables)

    @property
    def constant_bytes(self) -> int:
        """Size of all constants."""
        return sum(part.size for part in self.constants)

    @property
    def arena_bytes(self) -> int:
        """Size of the arena, see :func:`tinyscene.firmware_harness.emit.log_mel.scene_arena_bytes`."""
        return scene_arena_bytes(self.emitted, self.model.frontend, self.hop_samples)

    @property
    def state_bytes(self) -> int:
        """Size of the state: a window of samples, the scores, and with overlapping hops the last columns."""
        spec = self.model.frontend
        ring = spec.n_mels * spec.n_frames if self.hop_samples < spec.clip_samples else 0
        needed = 4 * (spec.win_length + 2) + 9 * len(self.model.labels) + ring + STATE_SLACK_BYTES
        return -(-needed // 8) * 8

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return graph_cost(self.graph, "stored").macs

    def header(self) -> str:
        """Text of the public header."""
        before, after = map(self.named, _SIZES.split((C_FOLDER / "product.h").read_text()))
        return before + "\n".join(self._sizes()) + after

    def source(self) -> str:
        """Text of the one C file."""
        tables = self._tables | {"model.h": self.emitted.model_h, "product.h": ""}
        tables["product_self_test.h"] = self_test_header(self.graph, self.options.rounding)
        files = [*self.emitted.kernels.sources(), *frontend_sources(), *scene_sources()]
        headers = {path.name: path.read_text() for path in files if path.suffix == ".h"} | tables
        headers[STACK_GUARD.name] = STACK_GUARD.read_text()
        sources = [Source(path.name, path.read_text()) for path in files if path.suffix == ".c"]
        sources.insert(0, Source("model.c", self.emitted.model_c))
        sources.append(Source("product.c", (C_FOLDER / "product.c").read_text()))
        text = self.named(self._preamble() + amalgamate(sources, headers, self._known_macros))
        return re.sub(r"\bts_(?=\w)", f"{self.prefix}_", text)  # functions in assembly cannot be static

    def serial_sources(self) -> dict[str, str]:
        """C files, by name, of the MLPerf Tiny runner's serial protocol around the public interface."""
        texts = {name: (C_FOLDER / name).read_text() for name in PROTOCOL}
        texts[MODEL_HEADER] = serial_model_header(self.graph, SerialOptions())
        return {self.named(name): self.named(text) for name, text in texts.items()}

    def named(self, text: str) -> str:
        """C text with ``product`` replaced by the prefix."""
        text = re.sub(r"\bPRODUCT_(?=\w)", f"{self.prefix.upper()}_", text)
        text = re.sub(r"\bPRODUCT_H\b", f"{self.prefix.upper()}_H", text)
        return re.sub(r"\bproduct(?=_\w|\.h\b|\.c\b)", self.prefix, text)

    @property
    def _known_macros(self) -> dict[str, bool]:
        absent = ("TS_OBSERVE", "TS_COUNT", "TS_MODEL_INPUTS")
        return {ROUNDING_MACRO: self.options.rounding == "single", **dict.fromkeys(absent, False)}

    @property
    def _tables(self) -> dict[str, str]:
        return dict(self.frontend.headers)

    def _preamble(self) -> str:
        lines = [
            "/* SPDX-License-Identifier: Apache-2.0",
            f" * Emitted by {self.generator} from model {plain(self.graph.name)}. Do not edit it.",
            f" * Digest {self.emitted.digest}.",
            " *",
            " * C99 of GCC or Clang. Everything is static except the header's functions and those in assembly. */",
            "/* clang-format off */",
        ]
        requirement = C_FOLDER / f"require_{self.options.cpu}.h"
        files = [C_FOLDER / "product_private.h", *([requirement] if requirement.exists() else [])]
        return "\n".join([*lines, *(path.read_text() for path in files)])

    def _sizes(self) -> list[str]:
        source, out = self.graph.tensors[self.graph.input], self.graph.tensors[self.graph.output]
        spec = self.model.frontend
        rows: list[tuple[str, object]] = [
            ("NAME", string(plain(self.graph.name))),
            ("VERSION", string(self.options.release)),
            ("DIGEST", f'"{self.emitted.digest}"'),
            ("GENERATOR", string(self.generator)),
            *version_macros(""),
            ("ARENA_BYTES", self.arena_bytes),
            ("ARENA_ALIGNMENT", ALIGNMENT),
            ("STATE_BYTES", self.state_bytes),
            ("CONSTANT_BYTES", self.constant_bytes),
            ("SAMPLE_RATE_HZ", spec.sample_rate_hz),
            ("CLIP_SAMPLES", spec.clip_samples),
            ("HOP_SAMPLES", self.hop_samples),
            ("SMOOTHED_HOPS", SMOOTHED_HOPS),
            ("LABEL_COUNT", len(self.model.labels)),
        ]
        for name, tensor in (("INPUT", source), ("OUTPUT", out)):
            rows += [
                (f"{name}_BYTES", tensor.n_bytes),
                (f"{name}_SCALE", float_literal(tensor.quant.scale[0])),
                (f"{name}_ZERO_POINT", f"({integer(tensor.quant.zero_point)})"),
            ]
        labels = next(line for line in self.emitted.model_h.splitlines() if line.startswith("#define TS_MODEL_LABELS "))
        rows.append(("LABELS", labels.removeprefix("#define TS_MODEL_LABELS ")))
        return [f"#define {self.prefix.upper()}_{name} {value}" for name, value in rows]
