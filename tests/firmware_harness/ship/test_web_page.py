"""The web page in headless Chromium: self-test, WAV files, a microphone fed from a WAV, hostile names, its width."""

from __future__ import annotations

import base64
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.browser import chromium
from tinyscene.firmware_harness.build.targets import HOST, WASM
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.firmware_harness.run.audio import SceneFirmware
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.firmware_harness.ship.web_page import page
from tinyscene.firmware_harness.ship.web_server import page_server

pytestmark = [pytest.mark.slow, pytest.mark.needs_tool("chromium", *WASM.executables, *HOST.executables)]
QUICK_HOST = replace(HOST, verify_flags=("-O1",))
HOP_S = 0.525
PASSED = "document.getElementById('verdict').className === 'done'"
RESULTS = """
(() => {
  const bytes = (array) => btoa(String.fromCharCode(...new Uint8Array(array.buffer.slice(array.byteOffset,
    array.byteOffset + array.byteLength))));
  const samples = tinyscene.samples();
  const parts = [];
  for (let at = 0; at < samples.length; at += 16384) parts.push(bytes(samples.slice(at, at + 16384)));
  return { samples: parts, codes: tinyscene.results.map(({ codes }) => bytes(codes)),
    labels: tinyscene.results.map(({ label, smoothedLabel }) => [label, smoothedLabel]) };
})()
"""


@pytest.fixture(scope="module")
def product(scenes):
    return Product(scenes, Options(hop_s=HOP_S), "tinyscene test")


@pytest.fixture(scope="module")
def html(product, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "demo.html"
    path.write_text(page(product))
    return path


def _recording(rate: int, seconds: float) -> np.ndarray:
    """Noise, tones and silence in turn, so that hops differ."""
    n, rng = int(rate * seconds), np.random.default_rng(1)
    time = np.arange(n) / rate
    loud = 0.4 * np.sin(2 * np.pi * (200 + 900 * np.floor(time * 2)) * time) + 0.1 * rng.standard_normal(n)
    return np.clip(loud * (np.floor(time * 4) % 4 > 0) * 32768, -32768, 32767).astype(np.int16)


def _compare_with_the_host(got: dict, product) -> np.ndarray:
    """The samples that the page kept, on the host's firmware: the same codes and labels, every hop. Returns them."""
    samples = np.frombuffer(b"".join(map(base64.b64decode, got["samples"])), "<i2")
    spec = product.part.model.frontend
    firmware = SceneFirmware(
        emit(product.graph, optimise=product.options.optimise), spec, QUICK_HOST, hop_samples=product.part.hop_samples
    )
    expected = firmware.classify(samples)
    assert len(expected) == len(got["codes"]) > 2
    codes = [np.frombuffer(base64.b64decode(each), np.int8) for each in got["codes"]]
    assert sum(int((a != b.codes).sum()) for a, b in zip(codes, expected, strict=True)) == 0
    assert got["labels"] == [[hop.label, hop.smoothed_label] for hop in expected]
    assert len({each.tobytes() for each in codes}) > 1
    return samples


def test_a_wav_file_from_a_page_in_a_file(product, html: Path, tmp_path: Path) -> None:
    spec, path = product.part.model.frontend, tmp_path / "clip.wav"
    recording = _recording(spec.sample_rate_hz, 3.3)
    soundfile.write(path, recording, spec.sample_rate_hz)
    with chromium(tmp_path) as browser:
        browser.open(html.as_uri())
        browser.wait_for(PASSED)
        assert "3 golden vectors, 30 bytes of output, 0 different" in browser.text("#verdict")
        browser.give_file("#file", path)
        browser.wait_for("document.getElementById('status').className === 'done'")
        samples = _compare_with_the_host(browser.evaluate(RESULTS), product)
        assert np.array_equal(samples, recording)
        assert "clip.wav: integers of 16 bits; 5 results" in browser.text("#status")
        drawn = "new Set(document.getElementById('picture').getContext('2d').getImageData(0, 0, 256, 256).data).size"
        browser.wait_for(f"{drawn} > 20")
        for other, complaint in (("other.wav", "expected 32,000 Hz, got 44,100 Hz"), ("no.wav", "not a WAV file")):
            soundfile.write(tmp_path / "other.wav", recording, 44_100)
            (tmp_path / "no.wav").write_bytes(b"fLaC")
            browser.give_file("#file", tmp_path / other)
            browser.wait_for("document.getElementById('status').className === 'failed'")
            browser.wait_for(f"document.getElementById('status').textContent.includes('{complaint}')")


@pytest.mark.parametrize("served", [False, True], ids=["file", "localhost"])
def test_the_microphone_gives_what_firmware_gives_for_the_same_samples(
    product, html: Path, tmp_path: Path, served: bool
) -> None:
    spec, path = product.part.model.frontend, tmp_path / "microphone.wav"
    soundfile.write(path, _recording(48_000, 6.0), 48_000)
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    fake += [f"--use-file-for-fake-audio-capture={path}%noloop", "--autoplay-policy=no-user-gesture-required"]
    with page_server(html.read_bytes(), 0) as server, chromium(tmp_path, fake) as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.open(f"http://127.0.0.1:{server.server_port}/" if served else html.as_uri())
        browser.wait_for(PASSED)
        browser.evaluate("document.getElementById('microphone').click()")
        browser.wait_for("tinyscene.results.length >= 5")
        assert "Microphone: 32,000 Hz" in browser.text("#status")
        browser.evaluate("document.getElementById('microphone').click()")
        samples = _compare_with_the_host(browser.evaluate(RESULTS), product)
        server.shutdown()
    assert len(samples) >= 2 * spec.sample_rate_hz
    assert np.abs(samples.astype(int)).max() > 1000  # the recording, not silence


def test_names_are_text(product, tmp_path: Path) -> None:
    hostile = "</script><script>globalThis.hostile = 1</script><img src=x onerror='hostile=1'>"
    labels = tuple(f"{hostile}{i}" for i in range(10))
    graph = replace(product.graph, name=hostile, labels=labels)
    from tinyscene.runtime.model import DescribedModel

    model = DescribedModel(product.part.model, graph, product.part.model.frontend)
    path = tmp_path / "hostile.html"
    path.write_text(page(Product(model, Options(), hostile)))
    with chromium(tmp_path) as browser:
        browser.open(path.as_uri())
        browser.wait_for(PASSED)
        assert browser.evaluate("globalThis.hostile") is None
        assert browser.evaluate("document.images.length") == 0
        assert browser.text("#scores li span") == labels[0]


def test_a_wrong_answer_is_shown(html: Path, tmp_path: Path) -> None:
    """One golden output changed: the verdict fails, and nothing can be classified."""
    text = html.read_text()
    before, outputs, after = text.partition('"outputs": ["')
    changed = ("B" if after[0] == "A" else "A") + after[1:]
    path = tmp_path / "wrong.html"
    path.write_text(before + outputs + changed)
    with chromium(tmp_path) as browser:
        browser.open(path.as_uri())
        browser.wait_for("document.getElementById('verdict').className === 'failed'")
        assert "Self-test FAILED: 3 golden vectors, 30 bytes of output, 1 different" in browser.text("#verdict")
        assert browser.evaluate("document.getElementById('microphone').disabled")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(html: Path, tmp_path: Path, width: int) -> None:
    with chromium(tmp_path) as browser:
        browser.size(width, 844)
        browser.open(html.as_uri())
        browser.wait_for(PASSED)
        assert browser.evaluate("document.documentElement.scrollWidth") == width
        smallest = "Math.min(...[...document.querySelectorAll('button, .file')].map((b) => b.offsetHeight))"
        assert browser.evaluate(smallest) >= 40
