"""The files of an npm package of a product, besides those that its format's templates give.

The module, its C, the JavaScript around it with its types, golden vectors for its self-test and, for a classifier of
audio, an example page.
"""

from __future__ import annotations

import json
import re
import shlex

from tinyscene.runtime.graph import Tensor

from ..build.wasm_sections import memory_bytes
from .product import Product
from .templates import substituted
from .web_page import WEB_FOLDER, golden_record, model_record, page_with
from .webassembly import build_command, module_sources

TEXTS = WEB_FOLDER.parent / "formats" / "wasm"
MODULE = "model.wasm"
_CLASSIFIER = {
    **{name: name for name in ("index.js", "index.d.ts", "classifier.js", "classifier.d.ts", "samples.js")},
    **{name: name for name in ("samples.d.ts", "microphone.js", "microphone.d.ts", "capture.js", "page.js")},
    "page.css": "page.css",
}
_NETWORK = {
    "index.js": "index_network.js",
    "index.d.ts": "index_network.d.ts",
    **{name: name for name in ("network.js", "network.d.ts")},
}
_COMMON = ("load.js", "self-test.mjs")
_EXAMPLE = """<script type="module">
import { bytesOf } from "./load.js";
import { model } from "./model.js";
import { startPage } from "./page.js";
const capture = new URL("./capture.js", import.meta.url);
globalThis.tinyscene = await startPage({ model, module: await bytesOf("model.wasm"), capture });
</script>"""
_FILES_OF_AUDIO = """| `classifier.js`, `samples.js` | samples in, results out; WAV files |
| `microphone.js`, `capture.js` | the microphone, and its AudioWorklet |
| `example.html`, `page.js`, `page.css` | an example page |
"""
_INSTANCE = "An instance of the module has one {}; create another one for another."
_FILES_OF_NETWORK = "| `network.js` | codes in, codes out |\n"


def package_name(product: Product) -> str:
    """A name that npm accepts, from the prefix of the C names."""
    return re.sub(r"[^a-z0-9]+", "-", product.prefix.lower()).strip("-")


def package_words(product: Product, module: bytes) -> dict[str, str]:
    """Values of the names in the templates of this format."""
    command = build_command(product)
    opening = "Acoustic scenes in WebAssembly" if product.has_audio else "A neural network in WebAssembly"
    flow = "16-bit samples in, label out" if product.has_audio else "int8 codes in, int8 codes out"
    words = {"package": package_name(product)}
    usage = substituted((TEXTS / ("audio.md" if product.has_audio else "network.md")).read_text(), words)
    return words | {
        "instance": _INSTANCE.format("stream of audio" if product.has_audio else "sequence of runs"),
        "web_opening": f"{opening}: {flow}, in browsers and in Node.js.",
        "web_files": _FILES_OF_AUDIO if product.has_audio else _FILES_OF_NETWORK,
        "memory": f"{memory_bytes(module) // 1024:,} KiB",
        "build_command": shlex.join([*command[:-1], f"../{MODULE}"]),
        "usage": usage,
    }


def package_files(product: Product, module: bytes) -> dict[str, bytes]:
    """Contents by path; ``module`` is the product's."""
    record = model_record(product) if product.has_audio else network_record(product)
    chosen = (_CLASSIFIER if product.has_audio else _NETWORK) | {name: name for name in _COMMON}
    texts = {name: (WEB_FOLDER / source).read_text() for name, source in chosen.items()}
    texts |= {f"src/{name}": text for name, text in module_sources(product).items()}
    texts["model.js"] = f"export const model = {json.dumps(record, indent=2)};\n"
    texts["model.d.ts"] = 'export const model: import("./index.js").Model;\n'
    texts["golden.json"] = json.dumps(golden_record(product)) + "\n"
    if product.has_audio:
        texts["example.html"] = page_with('<link rel="stylesheet" href="./page.css">', _EXAMPLE)
    return {MODULE: module} | {name: text.encode() for name, text in texts.items()}


def network_record(product: Product) -> dict[str, object]:
    """What the wrapper knows of a network: the members of ``Model`` in network.d.ts."""
    graph = product.graph
    return {
        "name": graph.name,
        "release": product.options.release,
        "generator": product.generator,
        "digest": product.emitted.digest,
        "rounding": product.options.rounding,
        "inputs": [_tensor_record(graph.tensors[name]) for name in graph.given],
        "outputs": [_tensor_record(graph.tensors[name]) for name in graph.results],
        **({"labels": list(graph.labels)} if graph.labels else {}),
    }


def _tensor_record(tensor: Tensor) -> dict[str, object]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape[1:] or (1,)),
        "bytes": tensor.n_bytes,
        "scale": tensor.quant.scale[0],
        "zeroPoint": tensor.quant.zero_point,
    }
