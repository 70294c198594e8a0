"""A model as a product: one C file in which everything is static, one public header, and the figures of both.

A model with a front end is a classifier of audio, any other a network alone (:mod:`.parts`). Names of the public
interface begin with a prefix, so that an image can contain several models. Refuses a prefix that is not a C identifier,
that tinyscene itself uses, or under which the header would shadow one of the C library's, a release that is not three
numbers, and a time between results for a network alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.cost import graph_cost
from tinyscene.runtime.model import Model, with_frontend
from tinyscene.runtime.plan import ALIGNMENT

from ..build.targets import PORT_FOLDER
from ..cpu.kernel_sets import kernel_set_named
from ..emit.c_text import plain, string
from ..emit.constant_block import ROUNDING_MACRO
from ..emit.constant_bytes import ConstantBytes, resolve
from ..emit.model import Emitted, emit, model_constants
from ..emit.schedule import SHIPPED, Optimise
from ..emit.version import version_macros
from ..errors import FirmwareError
from .amalgamate import Source, amalgamate
from .parts import AudioPart, NetworkAlone
from .serial_program import C_FOLDER, MODEL_HEADER, PROTOCOL, SerialOptions, serial_model_header

STACK_GUARD = PORT_FOLDER / "cortex_m" / "ts_stack_guard.h"
DEFAULT_RELEASE = "1.0.0"
LONGEST_PREFIX = 31
_SIZES = re.compile(r'^.*"product_sizes\.h"$', re.MULTILINE)
C_LIBRARY_HEADERS = frozenset(
    {"assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "math"}
    | {"setjmp", "signal", "stdalign", "stdarg", "stdatomic", "stdbool", "stddef", "stdint", "stdio", "stdlib"}
    | {"stdnoreturn", "string", "tgmath", "threads", "time", "uchar", "wchar", "wctype"}
)


@dataclass(frozen=True)
class Options:
    """Options of an exported product.

    ``prefix``: ``scene`` by default, or ``neural`` without a front end. ``hop_s``: seconds between results, a clip by
    default.
    """

    cpu: str = "c99"
    optimise: Optimise = SHIPPED
    rounding: Rounding = "double"
    prefix: str | None = None
    release: str = DEFAULT_RELEASE
    hop_s: float | None = None

    def __post_init__(self) -> None:
        if self.prefix is not None:
            _require_free(self.prefix)
        if not re.fullmatch(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){2}", self.release):
            raise FirmwareError("release", "invalid", expected="three numbers, such as 1.0.0", got=repr(self.release))


def _require_free(prefix: str) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", prefix) or len(prefix) > LONGEST_PREFIX:
        expected = f"a C identifier that begins with a letter, at most {LONGEST_PREFIX} long"
        raise FirmwareError("prefix", "invalid", expected=expected, got=repr(prefix))
    if prefix.lower() in C_LIBRARY_HEADERS | {"ts", "model", "frontend"}:
        what = "already used by the C library or by tinyscene"
        raise FirmwareError("prefix", what, expected=f"another name, such as {AudioPart.prefix}", got=prefix)


class Product:
    """A model as two files of C.

    Args:
        model: network, labels, and the front end of a classifier of audio.
        options: see :class:`Options`.
        generator: name and version of the exporting program, such as ``tinyscene 0.1.0``.

    Raises:
        FirmwareError: the graph or the front end is not supported in C. RuntimeFailure: the hop is no duration.
    """

    def __init__(self, model: Model, options: Options, generator: str) -> None:
        self.options, self.generator = options, generator
        audio = None if model.frontend is None else with_frontend(model)
        if audio is None and options.hop_s is not None:
            what = "belongs to audio, and the model has no front end"
            raise FirmwareError("--hop", what, got=str(model.path), next_step="leave out --hop")
        self.graph = (audio or model).graph
        self.emitted: Emitted = emit(self.graph, kernel_set_named(options.cpu), options.optimise)
        self.part: AudioPart | NetworkAlone = (
            NetworkAlone(model, self.emitted) if audio is None else AudioPart(audio, self.emitted, options.hop_s)
        )

    @property
    def has_audio(self) -> bool:
        """Whether samples come in, instead of codes."""
        return isinstance(self.part, AudioPart)

    @property
    def prefix(self) -> str:
        """Prefix of the public C names."""
        return self.options.prefix or self.part.prefix

    @cached_property
    def constants(self) -> tuple[ConstantBytes, ...]:
        """All constants: those of the network, layer records included, and the tables of a front end."""
        network = model_constants(self.emitted.model_c, self.emitted.kernels, self.options.rounding)
        return (network, *self.part.tables)

    @property
    def constant_bytes(self) -> int:
        """Size of all constants."""
        return sum(part.size for part in self.constants)

    @property
    def arena_bytes(self) -> int:
        """Size of the arena."""
        return self.part.arena_bytes

    @property
    def state_bytes(self) -> int:
        """Size of the state."""
        return self.part.state_bytes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return graph_cost(self.graph, "stored").macs

    def header(self) -> str:
        """Text of the public header."""
        before, after = map(self.named, _SIZES.split(self._selected(C_FOLDER / "product.h")))
        return before + "\n".join(self._sizes()) + after

    def source(self) -> str:
        """Text of the one C file."""
        emitted = self.part.headers(self.options.rounding) | {"model.h": self.emitted.model_h, "product.h": ""}
        files = [*self.emitted.kernels.sources(), *self.part.sources()]
        headers = {path.name: path.read_text() for path in files if path.suffix == ".h"} | emitted
        headers[STACK_GUARD.name] = STACK_GUARD.read_text()
        sources = [Source(path.name, path.read_text()) for path in files if path.suffix == ".c"]
        sources.insert(0, Source("model.c", self.emitted.model_c))
        sources.append(Source("product.c", (C_FOLDER / "product.c").read_text()))
        text = self.named(self._preamble() + amalgamate(sources, headers, self._known_macros))
        return re.sub(r"\bts_(?=\w)", f"{self.prefix}_", text)  # functions in assembly cannot be static

    def serial_sources(self) -> dict[str, str]:
        """C files, by name, of the MLPerf Tiny runner's serial protocol around the public interface; none for several
        inputs or outputs."""
        if self.part.results is None:
            return {}
        texts = {name: (C_FOLDER / name).read_text() for name in PROTOCOL}
        texts[MODEL_HEADER] = serial_model_header(self.graph, SerialOptions(results=self.part.results))
        return {self.named(name): self.named(text) for name, text in texts.items()}

    def text(self, path: Path, on_a_board: bool = False) -> str:
        """A C file around the public interface; an example may have a form for boards."""
        return self.named(self._selected(path, on_a_board))

    def named(self, text: str) -> str:
        """C text with ``product`` replaced by the prefix."""
        text = re.sub(r"\bPRODUCT_(?=\w)", f"{self.prefix.upper()}_", text)
        text = re.sub(r"\bPRODUCT_H\b", f"{self.prefix.upper()}_H", text)
        return re.sub(r"\bproduct(?=_\w|\.h\b|\.c\b)", self.prefix, text)

    def _selected(self, path: Path, on_a_board: bool = False) -> str:
        return resolve(path.read_text(), self.part.macros | {"PRODUCT_BOARD": on_a_board})

    @property
    def _known_macros(self) -> dict[str, bool]:
        absent = ("TS_OBSERVE", "TS_COUNT")
        single = self.options.rounding == "single"
        return {ROUNDING_MACRO: single, **dict.fromkeys(absent, False), **self.part.macros}

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
            *self.part.sizes(),
        ]
        return [f"#define {self.prefix.upper()}_{name} {value}" for name, value in rows]
