"""A classifier as a web page: one HTML file that holds module, model, golden vectors and scripts, and loads nothing.

It works from a file, offline. Text of the model reaches the page as JSON and is shown as text. Refuses a model without
a front end, and where the compiler of target ``wasm`` is missing.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tinyscene.runtime.arrays import I8
from tinyscene.runtime.smoothing import SMOOTHED_HOPS
from tinyscene.runtime.vectors import joined

from ..errors import FirmwareError
from .parts import AudioPart
from .product import Product
from .templates import substituted
from .webassembly import build_module

WEB_FOLDER = Path(__file__).resolve().parent / "web"
SCRIPTS = ("samples.js", "classifier.js", "microphone.js", "page.js")  # each after those it imports
MOST_VECTORS = 8
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' data:; "
    "style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
)
_IMPORT = re.compile(r"^import .*\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|class|const)", re.MULTILINE)
_START = """
const decoded = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const codes = (texts) => texts.map((text) => new Int8Array(decoded(text).buffer));
const { model, module, golden, capture } = JSON.parse(document.getElementById("data").textContent);
globalThis.tinyscene = await startPage({
  model,
  module: decoded(module),
  golden: { inputs: codes(golden.inputs), outputs: codes(golden.outputs) },
  capture: `data:text/javascript,${encodeURIComponent(capture)}`, // a page in a file may not load blobs here
});
"""


def model_record(product: Product) -> dict[str, object]:
    """What the wrapper knows of a classifier: the members of ``Model`` in classifier.d.ts."""
    part = product.part
    if not isinstance(part, AudioPart):
        what, step = "has no front end, which a page needs", "give it with --frontend PRESET|FILE.json"
        raise FirmwareError(str(part.model.path), what, next_step=step)
    spec, graph = part.model.frontend, product.graph
    return {
        "name": graph.name,
        "release": product.options.release,
        "generator": product.generator,
        "digest": product.emitted.digest,
        "rounding": product.options.rounding,
        "sampleRate": spec.sample_rate_hz,
        "clipSamples": spec.clip_samples,
        "hopSamples": part.hop_samples,
        "smoothedHops": SMOOTHED_HOPS,
        "arithmetic": spec.arithmetic,
        "bands": spec.n_mels,
        "frames": spec.n_frames,
        "labels": list(part.model.labels),
        "inputBytes": graph.tensors[graph.input].n_bytes,
        "outputBytes": graph.tensors[graph.output].n_bytes,
    }


def page(product: Product) -> str:
    """The page of a classifier of audio as one HTML file; the same product and compiler give the same text.

    Raises:
        FirmwareError: the compiler is missing, or fails.
    """
    data = {
        "model": model_record(product),
        "module": _base64(build_module(product)),
        "golden": golden_record(product),
        "capture": _text("capture.js"),
    }
    script = "".join(_EXPORT.sub("", _IMPORT.sub("", _text(name))) for name in SCRIPTS) + _START
    return page_with(
        f"<style>\n{_text('page.css')}</style>",
        f'<script id="data" type="application/json">{_json(data)}</script>\n<script type="module">\n{script}</script>',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n',
    )


def page_with(style: str, script: str, policy: str = "") -> str:
    """The page's HTML with these elements."""
    return substituted(_text("page.html"), {"style": style, "script": script, "policy": policy})


def golden_record(product: Product) -> dict[str, list[str]]:
    """Inputs and outputs that the module must reproduce, in base64: the first :data:`MOST_VECTORS` golden vectors.

    None for a network with states, which a caller of the module cannot set.
    """
    graph = product.graph
    if graph.states:
        return {"inputs": [], "outputs": []}
    golden = product.part.model.golden()
    outputs = joined(graph, graph.outputs, golden.activations[product.options.rounding])
    return {"inputs": _encoded(golden.inputs[:MOST_VECTORS]), "outputs": _encoded(outputs[:MOST_VECTORS])}


def _encoded(rows: Iterable[I8]) -> list[str]:
    return [_base64(np.asarray(row, np.int8).tobytes()) for row in rows]


def _json(value: object) -> str:
    """JSON that ends no element of HTML, whatever the texts in it are."""
    return json.dumps(value).replace("<", "\\u003c")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _text(name: str) -> str:
    return (WEB_FOLDER / name).read_text()
