"""Words of the templates in formats/ that differ between a classifier of audio and a network alone."""

from __future__ import annotations

import json

from tinyscene.runtime.graph import Tensor
from tinyscene.runtime.states import state_bytes

from ..emit.c_text import plain
from .parts import AudioPart, NetworkAlone

_PROTOCOL = "the serial protocol of the MLPerf Tiny runner, for measuring on a board"
SERIAL_ROW = f"| `@{{serial}}` | not needed by the @{{noun}}: {_PROTOCOL} |\n"
_AUDIO = {
    "title": "Acoustic scene classifier: samples in, label out",
    "opening": "An acoustic scene classifier in C: 16-bit samples in, label out.",
    "kind": "acoustic scene classifier",
    "flow": "Samples in, label out",
    "network": "int8 network with its log-mel front end",
    "noun": "classifier",
    "subject": "audio",
    "keywords": json.dumps(["audio", "classifier", "int8"]),
    "group": "Acoustic Scene",
    "select": "Classify samples of a microphone",
    "read": "samples",
    "example": "listen",
    "sample_purpose": "Acoustic scenes from a microphone",
    "sample_advice": ", after calling your microphone's driver in its `pcm_read`",
    "driver_advice": "call your microphone's driver in `pcm_read`.",
    "pico_sdk_option": " -DMICROPHONE=i2s (or adc)",
}
_PICO_MICROPHONE = """set(MICROPHONE i2s CACHE STRING "i2s or adc")
target_sources(NAME PRIVATE microphone_${MICROPHONE}.c)
target_link_libraries(NAME PRIVATE hardware_adc hardware_dma hardware_irq hardware_pio)
pico_generate_pio_header(NAME ${CMAKE_CURRENT_LIST_DIR}/i2s_left.pio)
"""
_ALONE = {
    "title": "Neural network: int8 codes in, int8 codes out",
    "opening": "A neural network in C: int8 codes in, int8 codes out.",
    "kind": "neural network",
    "flow": "Codes in, codes out",
    "network": "int8 network",
    "noun": "network",
    "subject": "inference",
    "keywords": json.dumps(["neural network", "inference", "int8"]),
    "group": "Network",
    "select": "Run the network",
    "read": "codes",
    "example": "infer",
    "sample_purpose": "One inference of a neural network",
    "sample_advice": ", which runs the network once; call your sensor's driver in its `read_codes`",
    "driver_advice": "it runs the network once. Call your sensor's driver in `read_codes`.",
    "pico_sdk_option": "",
    "pico_sdk_microphone": "",
}


def words_of(part: AudioPart | NetworkAlone, prefix: str) -> dict[str, str]:
    """The words of a product with this part. ``prefix``: of its public names."""
    if isinstance(part, NetworkAlone):
        advice = "it runs the network once.\nCall your sensor's library in `read_codes`."
        return _ALONE | {"Example": "Infer", "contents": "\n".join(_ends(part)), "sketch_advice": advice}
    rate = f"The sample rate must be\n{part.model.frontend.sample_rate_hz} Hz."
    advice = f"call your board's microphone library in `pcm_read`. {rate}"
    labels = f"Labels: {', '.join(map(plain, part.model.labels))}"
    own = {"Example": "Listen", "contents": labels, "sketch_advice": advice}
    return _AUDIO | own | {"pico_sdk_microphone": _PICO_MICROPHONE.replace("NAME", f"{prefix}_{_AUDIO['example']}")}


def audio_figures(part: AudioPart | NetworkAlone) -> list[tuple[str, str]]:
    """Rows of README.md about audio."""
    if isinstance(part, NetworkAlone):
        return []
    spec = part.model.frontend
    return [
        ("audio", f"{spec.sample_rate_hz:,} Hz, a result every {part.hop_samples / spec.sample_rate_hz:g} s"),
        ("front end", f"{plain(spec.name)}: {spec.n_mels} bands x {spec.n_frames} columns"),
    ]


def _ends(part: NetworkAlone) -> list[str]:
    """A table of inputs and outputs, and what their axes are."""
    graph, axes = part.graph, part.model.input_axes
    lines = ["| | name | shape | codes | scale | zero point |", "|---|---|---|---|---|---|"]
    for kind, names in (("input", graph.given), ("output", graph.results)):
        for number, name in enumerate(names):
            lines.append(f"| {kind}{f' {number}' if len(names) > 1 else ''} | {_row(graph.tensors[name])} |")
    lines += ["", "A real value is scale * (code - zero point). The axes of an image are height, width, channels."]
    for name in axes:
        order = ", ".join(str(axis) for axis in axes[name][1:])
        lines.append(
            f"Axes of `{plain(name)}` in the order of the codes, as the model's own input numbers them: {order}."
        )
    if graph.states:
        lines += [
            "",
            f"The network keeps {state_bytes(graph):,} bytes in the arena from one run to the next. "
            "Run it on consecutive inputs, and call the header's function for another sequence, whose name ends in "
            "`_reset`, where one begins.",
        ]
    if graph.labels:
        lines += ["", f"Labels: {', '.join(map(plain, graph.labels))}"]
    return lines


def _row(tensor: Tensor) -> str:
    quant, shape = tensor.quant, " x ".join(map(str, tensor.shape[1:] or (1,)))
    return f"`{plain(tensor.name)}` | {shape} | {tensor.n_bytes:,} | {quant.scale[0]:.9g} | {quant.zero_point}"
