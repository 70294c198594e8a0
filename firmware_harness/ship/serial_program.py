"""A network alone with the serial protocol of the MLPerf Tiny runner around it, as C files.

The protocol sends the network's input and reads its output, so that a model needs no front end. Refuses a model id that
the runner's lines cannot hold, and networks with several inputs or outputs, which the protocol has no form for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Literal, get_args

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.graph import Graph, Quant
from tinyscene.runtime.scores import are_probabilities

from ..cpu.kernel_sets import kernel_set_named
from ..emit.c_text import plain, string
from ..emit.model import Emitted, emit
from ..emit.schedule import Optimise
from ..errors import FirmwareError

C_FOLDER = Path(__file__).resolve().parent / "c"
NETWORK_FOLDER = C_FOLDER / "network"
PROTOCOL = ("product_serial.c", "product_serial.h")
MODEL_HEADER = "product_serial_model.h"
SentAs = Literal["codes", "uint8", "float32"]
Results = Literal["probabilities", "values"]
SENT_AS: tuple[SentAs, ...] = get_args(SentAs)
RESULTS: tuple[Results, ...] = get_args(Results)
WEIGHT_BITS = 24
_MODEL_ID = re.compile(r"[!-\\^-~][ -\\^-~]{0,63}")  # printable ASCII without ], which ends it


@dataclass(frozen=True)
class SerialOptions:
    """What the runner sends and receives.

    Attributes:
        model_id: the runner's name of the benchmark, such as ``ic01``; the graph's name by default.
        sent_as: form of the inputs: int8 codes; uint8, 128 above the code; float32, little-endian real numbers.
        results: probabilities that add up to 1, or the real values of the output.
    """

    model_id: str | None = None
    sent_as: SentAs = "codes"
    results: Results = "probabilities"

    def __post_init__(self) -> None:
        if self.model_id is not None and not _MODEL_ID.fullmatch(self.model_id):
            expected = "1 to 64 printable ASCII characters without ]"
            raise FirmwareError("--model-id", "invalid", expected=expected, got=repr(self.model_id))
        for option, value, known in (("--sent-as", self.sent_as, SENT_AS), ("--results", self.results, RESULTS)):
            if value not in known:
                raise FirmwareError(option, "unknown", expected=" | ".join(known), got=value)


class SerialProgram:
    """The C files of a network with the protocol, without a board's own file.

    Raises:
        FirmwareError: the graph is not supported in C.
    """

    def __init__(
        self, graph: Graph, cpu: str, optimise: Optimise, rounding: Rounding, options: SerialOptions | None = None
    ) -> None:
        graph.require_one_each()
        self.graph, self.rounding, self.options = graph, rounding, options or SerialOptions()
        self.emitted: Emitted = emit(graph, kernel_set_named(cpu), optimise)

    def write(self, folder: Path) -> None:
        """Write model, kernels and protocol into one folder."""
        self.emitted.write(folder)
        texts = {name: (C_FOLDER / name).read_text() for name in PROTOCOL}
        texts |= {path.name: path.read_text() for path in NETWORK_FOLDER.iterdir()}
        for name, text in (texts | {MODEL_HEADER: serial_model_header(self.graph, self.options)}).items():
            (folder / name).write_text(text)


def serial_model_header(graph: Graph, options: SerialOptions) -> str:
    """The header of the protocol for one model: its id, the form of the inputs, and how results are computed."""
    output = graph.tensors[graph.output]
    lines = [
        "/* What the serial protocol needs to know about the model; emitted by tinyscene. */",
        "#ifndef PRODUCT_SERIAL_MODEL_H\n#define PRODUCT_SERIAL_MODEL_H\n",
        f"#define PRODUCT_SERIAL_MODEL {string(options.model_id or plain(graph.name))}",
        f"#define PRODUCT_SERIAL_FLIP {0x80 if options.sent_as == 'uint8' else 0} /* of a byte, to get its code */",
    ]
    if options.sent_as == "float32":
        lines.append("#define PRODUCT_SERIAL_FLOAT /* inputs are float32 */")
    if options.results == "probabilities" and output.n_bytes > 1 and not are_probabilities(output.quant):
        lines += _softmax_lines(output.quant)
    return "\n".join([*lines, "\n#endif", ""])


def _softmax_lines(quant: Quant) -> list[str]:
    """The softmax of codes: the weight of a code by its distance below the highest one."""
    weights = [round(2**WEIGHT_BITS * exp(-quant.scale[0] * distance)) for distance in range(256)]
    rows = [", ".join(f"{weight}u" for weight in weights[at : at + 8]) for at in range(0, 256, 8)]
    table = "    " + ",\n    ".join(rows)
    return [
        f"\n/* 2^{WEIGHT_BITS} e^-x for the distance x of a code below the highest one */",
        "#define PRODUCT_SERIAL_SOFTMAX",
        f"/* clang-format off */\nstatic const uint32_t product_serial_weights[256] = {{\n{table}}};",
        "/* clang-format on */",
    ]
