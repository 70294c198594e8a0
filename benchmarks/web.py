"""Time of a model as WebAssembly for a second of audio, in Node.js and in headless Chromium, and the size of its page.

    python benchmarks/web.py MODEL [--hop SECONDS] [--seconds N]

Times depend on the machine and on what else it does; the ratio is real time divided by the time of computing. Chromium
is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

sys.path.append(str(Path(__file__).resolve().parent.parent))

from tests.browser import chromium
from tinyscene import __version__
from tinyscene.export.formats.open_model import open_model
from tinyscene.firmware_harness.ship.formats import FORMATS, export
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.firmware_harness.ship.web_page import page
from tinyscene.runtime.model import with_frontend
from tinyscene.runtime.temporaries import temporary_folder

NODE = """
import { readFileSync } from "node:fs";
import { createClassifier, readWav } from "./index.js";
const classifier = await createClassifier();
const { samples } = readWav(readFileSync("noise.wav"));
classifier.push(samples);
const begin = performance.now();
classifier.push(samples);
console.log(JSON.stringify((performance.now() - begin) / 1000));
"""


def in_node(product: Product, samples: np.ndarray, folder: Path) -> float:
    """Seconds of computing for the samples, the second time that they are processed."""
    package = folder / "package"
    export(product, FORMATS["wasm"], package)
    soundfile.write(package / "noise.wav", samples, product.part.model.frontend.sample_rate_hz, subtype="PCM_16")
    (package / "time.mjs").write_text(NODE)
    words = ["node", "time.mjs"]
    return json.loads(subprocess.run(words, cwd=package, capture_output=True, text=True, check=True).stdout)


def in_chromium(product: Product, html: str, samples: np.ndarray, folder: Path) -> float:
    """The same on the page, where the log-mel is drawn too, outside the time that is measured."""
    path, wav = folder / "page.html", folder / "noise.wav"
    path.write_text(html)
    soundfile.write(wav, samples, product.part.model.frontend.sample_rate_hz, subtype="PCM_16")
    with chromium(folder) as browser:
        browser.open(path.as_uri())
        browser.wait_for("globalThis.tinyscene")
        for _ in range(2):
            browser.evaluate("document.getElementById('status').className = ''")
            browser.give_file("#file", wav)
            browser.wait_for("document.getElementById('status').className === 'done'")
        return browser.evaluate("tinyscene.seconds")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--hop", type=float, default=None, metavar="SECONDS")
    parser.add_argument("--seconds", type=int, default=10, metavar="N")
    arguments = parser.parse_args(words)
    model = with_frontend(open_model(arguments.model))
    product = Product(model, Options(hop_s=arguments.hop), f"tinyscene {__version__}")
    rate = model.frontend.sample_rate_hz
    samples = np.random.default_rng(0).normal(0.0, 3000.0, rate * arguments.seconds).astype(np.int16)
    html = page(product)
    print(f"{model.graph.name}: {product.macs:,} multiply-accumulates, page {len(html):,} B")
    with temporary_folder("web") as folder:
        times = {"Node.js": in_node(product, samples, folder)}
        if shutil.which("chromium"):
            times["Chromium"] = in_chromium(product, html, samples, folder)
    for name, seconds in times.items():
        share = seconds / arguments.seconds
        print(f"{name}: {1000 * share:.1f} ms for a second of audio, {1 / share:.0f} times real time")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
