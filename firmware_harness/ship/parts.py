"""What a product has besides its network: the audio part of a model with a front end, or the ends of a network alone.

Both give :class:`~.product.Product` the same: the sizes and macros of the public header, further C files, and the
functions of the interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.graph import Graph, Tensor
from tinyscene.runtime.model import AudioModel, Model
from tinyscene.runtime.scores import has_scores
from tinyscene.runtime.smoothing import SMOOTHED_HOPS
from tinyscene.runtime.states import state_bytes

from ..emit.c_text import float_literal, integer, string
from ..emit.constant_bytes import ConstantBytes
from ..emit.log_mel import emit_frontend, frontend_sources, samples_of_hop, scene_arena_bytes, scene_sources
from ..emit.model import Emitted, has_several_ends
from .self_test import checksum_header, scores_header
from .serial_program import C_FOLDER, Results

ALONE_FOLDER, MICROPHONE_FOLDER = C_FOLDER / "alone", C_FOLDER / "microphones"
SELF_TEST = "product_self_test.h"
# Counters and pointers of the state, besides samples and scores; the C checks at compile time that they suffice.
AUDIO_SLACK_BYTES, ALONE_STATE_BYTES = 152, 72
_OF_ALONE = ("PRODUCT_INPUTS", "TS_MODEL_INPUTS", "PRODUCT_KEPT_BYTES", "TS_MODEL_STATES")
Rows = Iterator[tuple[str, object]]
Program = Literal["host", "board", "sketch", "microphone"]


class AudioPart:
    """Front end, stream and scores: samples in, label out.

    Attributes:
        prefix: prefix of the public names, unless another one is chosen.
        functions: functions of the interface that run the network, without prefix.
        results: what the serial protocol sends.
        tables: constants besides the network's.
        programs: examples, which read from standard input, call a driver, or a microphone.
    """

    prefix, functions = "scene", ("init", "invoke", "process_pcm")
    programs: Mapping[Program, Path] = MappingProxyType(
        {
            "host": C_FOLDER / "main.c",
            "board": C_FOLDER / "main_board.c",
            "sketch": C_FOLDER / "listen.ino",
            "microphone": MICROPHONE_FOLDER / "main.c",
        }
    )
    results: Results = "probabilities"

    def __init__(self, model: AudioModel, emitted: Emitted, hop_s: float | None) -> None:
        self.model, self._emitted = model, emitted
        self.hop_samples = samples_of_hop(model.frontend, hop_s)
        quant = emitted.graph.tensors[emitted.graph.input].quant
        self.frontend = emit_frontend(model.frontend, quant, hop_samples=self.hop_samples)
        self.tables: tuple[ConstantBytes, ...] = self.frontend.tables

    @property
    def macros(self) -> dict[str, bool]:
        """Macros that select text in the C files, and whether they are defined."""
        return dict.fromkeys(_OF_ALONE, False) | {"PRODUCT_AUDIO": True}

    @property
    def arena_bytes(self) -> int:
        """See :func:`tinyscene.firmware_harness.emit.log_mel.scene_arena_bytes`."""
        return scene_arena_bytes(self._emitted, self.model.frontend, self.hop_samples)

    @property
    def state_bytes(self) -> int:
        """A window of samples, the scores, and with overlapping hops the last columns."""
        spec = self.model.frontend
        ring = spec.n_mels * spec.n_frames if self.hop_samples < spec.clip_samples else 0
        samples = (2 if spec.arithmetic == "integer" else 4) * (spec.win_length + 3)
        needed = samples + 9 * len(self.model.labels) + ring + AUDIO_SLACK_BYTES
        return -(-needed // 8) * 8

    def headers(self, rounding: Rounding) -> dict[str, str]:
        """Emitted headers by name."""
        return self.frontend.headers | {SELF_TEST: scores_header(self._emitted.graph, rounding)}

    def sources(self) -> list[Path]:
        """C files and headers besides the network's kernels."""
        return [*frontend_sources(self.model.frontend.arithmetic), *scene_sources()]

    def sizes(self) -> Rows:
        """Macros of the public header, without prefix."""
        spec, graph = self.model.frontend, self._emitted.graph
        yield "SAMPLE_RATE_HZ", spec.sample_rate_hz
        yield "CLIP_SAMPLES", spec.clip_samples
        yield "HOP_SAMPLES", self.hop_samples
        yield "SMOOTHED_HOPS", SMOOTHED_HOPS
        yield "LABEL_COUNT", len(self.model.labels)
        yield from _codes("INPUT", graph.tensors[graph.input])
        yield from _codes("OUTPUT", graph.tensors[graph.output])
        yield "LABELS", _listed(map(string, self.model.labels))


class NetworkAlone:
    """Inputs and outputs of a network without a front end: codes in, codes out. Members are those of an audio part."""

    prefix, functions = "neural", ("init", "invoke")
    programs: Mapping[Program, Path] = MappingProxyType(
        {
            **dict.fromkeys(("host", "board", "microphone"), ALONE_FOLDER / "main.c"),
            "sketch": ALONE_FOLDER / "infer.ino",
        }
    )
    state_bytes = ALONE_STATE_BYTES
    tables: tuple[ConstantBytes, ...] = ()

    def __init__(self, model: Model, emitted: Emitted) -> None:
        self.model, self._emitted = model, emitted
        self.arena_bytes = emitted.plan.arena_bytes

    @property
    def graph(self) -> Graph:
        """The network."""
        return self._emitted.graph

    @property
    def macros(self) -> dict[str, bool]:
        several = has_several_ends(self.graph)
        ends = dict.fromkeys(("PRODUCT_INPUTS", "TS_MODEL_INPUTS"), several)
        kept = dict.fromkeys(("PRODUCT_KEPT_BYTES", "TS_MODEL_STATES"), bool(self.graph.states))
        return {"PRODUCT_AUDIO": False} | ends | kept

    @property
    def results(self) -> Results | None:
        """None for several inputs or outputs and for states, which the protocol has no form for."""
        if has_several_ends(self.graph) or self.graph.states:
            return None
        return "probabilities" if has_scores(self.graph) else "values"

    def headers(self, rounding: Rounding) -> dict[str, str]:
        return {SELF_TEST: checksum_header(self.graph, rounding)}

    def sources(self) -> list[Path]:
        return [ALONE_FOLDER / "ts_scene.h"]

    def sizes(self) -> Rows:
        several = has_several_ends(self.graph)
        for kind, names in (("INPUT", self.graph.given), ("OUTPUT", self.graph.results)):
            tensors = [self.graph.tensors[name] for name in names]
            if several:
                yield f"{kind}S", len(tensors)
                yield f"{kind}S_BYTES", sum(tensor.n_bytes for tensor in tensors)
                yield f"{kind}_SIZES", _listed(tensor.n_bytes for tensor in tensors)
            for number, tensor in enumerate(tensors):
                yield from self._end(f"{kind}_{number}" if several else kind, tensor)
        if self.graph.states:
            yield "KEPT_BYTES", state_bytes(self.graph)
        if self.graph.labels:
            yield "LABEL_COUNT", len(self.graph.labels)
            yield "LABELS", _listed(map(string, self.graph.labels))

    def _end(self, macro: str, tensor: Tensor) -> Rows:
        yield f"{macro}_NAME", string(tensor.name)
        yield f"{macro}_SHAPE", _listed(tensor.shape[1:] or (1,))
        yield from _codes(macro, tensor)
        if tensor.name in self.graph.given:
            yield f"{macro}_OFFSET", self._emitted.plan.offsets[tensor.name]


def _codes(macro: str, tensor: Tensor) -> Rows:
    yield f"{macro}_BYTES", tensor.n_bytes
    yield f"{macro}_SCALE", float_literal(tensor.quant.scale[0])
    yield f"{macro}_ZERO_POINT", f"({integer(tensor.quant.zero_point)})"


def _listed(values: Iterable[object]) -> str:
    """An initialiser."""
    return f"{{{', '.join(map(str, values))}}}"
