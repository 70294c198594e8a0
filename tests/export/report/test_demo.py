"""The demo inside a report: in headless Chromium from a file, and the reason where it is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.browser import chromium
from tests.export.report.reported import make
from tests.firmware_harness.bundles import image_network, network_alone, small_bundle
from tinyscene.export.report.demo import demo_of
from tinyscene.export.report.document import document
from tinyscene.export.report.page import render
from tinyscene.firmware_harness.build.targets import WASM
from tinyscene.runtime.bundle import read_bundle


@pytest.mark.slow
@pytest.mark.needs_tool("chromium", *WASM.executables)
def test_the_model_runs_inside_its_report(tmp_path: Path) -> None:
    path, demo = tmp_path / "report.html", demo_of(read_bundle(small_bundle(tmp_path)))
    path.write_bytes(render(document(make(grn=False).data), demo))
    verdict = "document.querySelector('iframe').contentDocument?.getElementById('verdict')"
    with chromium(tmp_path) as browser:
        browser.size(390, 844)
        browser.open(path.as_uri())
        browser.wait_for(f"{verdict}?.className === 'done'")
        assert "3 golden vectors, 30 bytes of output, 0 different" in browser.evaluate(f"{verdict}.textContent")


def test_without_a_compiler_the_report_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = read_bundle(small_bundle(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    demo = demo_of(bundle)
    assert demo is not None
    assert demo == replace(demo, html="")
    assert "clang is not installed; next: apt-get install clang lld wasi-libc" in demo.reason


def test_a_network_without_a_front_end_has_no_demo(tmp_path: Path) -> None:
    assert demo_of(network_alone(tmp_path, image_network())) is None
