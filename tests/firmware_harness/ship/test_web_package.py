"""The npm package in Node.js: self-test, samples to labels as on the host, WAV files as the runtime reads them."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.graphs import random_input
from tinyscene.firmware_harness.build.targets import HOST, WASM
from tinyscene.firmware_harness.build.wasm_sections import IMPORT_SECTION, memory_bytes, sections
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.firmware_harness.run.audio import LogMelFirmware, SceneFirmware
from tinyscene.firmware_harness.ship.formats import FORMATS, export
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.runtime.audio import read_audio, to_int16
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.interpreter import run as interpret

pytestmark = pytest.mark.needs_tool(*WASM.executables)
QUICK_HOST = replace(HOST, verify_flags=("-O1",))
WRITE = "const encoded = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('base64');"


def _node(folder: Path, script: str, working: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script in the folder of a package, with its files in ``working``, and check its end."""
    path = folder / "script.mjs"
    path.write_text(script)
    ran = subprocess.run(["node", path], cwd=working or folder, capture_output=True, text=True, check=False)
    path.unlink()
    assert ran.returncode == 0, ran.stderr
    return ran


def _text(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _exported(model: Bundle, folder: Path, **options: object) -> Product:
    product = Product(model, Options(**options), "tinyscene")
    export(product, FORMATS["wasm"], folder)
    return product


def test_the_self_test_passes_and_finds_a_wrong_output(any_model: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    _exported(any_model, folder)
    ran = subprocess.run(["node", "self-test.mjs"], cwd=folder, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    vectors = len(any_model.golden().inputs)
    assert re.search(rf"{vectors} golden vectors, \d+ bytes, 0 different", ran.stdout)
    golden = json.loads((folder / "golden.json").read_text())
    first = golden["outputs"][0]
    golden["outputs"][0] = ("B" if first[0] == "A" else "A") + first[1:]
    (folder / "golden.json").write_text(json.dumps(golden))
    ran = subprocess.run(["node", "self-test.mjs"], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "1 different" in ran.stdout


@pytest.fixture(scope="module")
def package(scenes: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of a classifier."""
    folder = tmp_path_factory.mktemp("web") / "package"
    _exported(scenes, folder)
    return folder


@pytest.mark.parametrize("hop_s", [None, 0.525], ids=["separate", "overlapping"])
@pytest.mark.needs_tool(*HOST.executables)
def test_samples_give_the_host_s_results_and_columns(scenes: Bundle, tmp_path: Path, hop_s: float | None) -> None:
    """In pieces of odd lengths; scores are compared byte for byte too."""
    product = _exported(scenes, tmp_path / "package", rounding="single", hop_s=hop_s)
    spec, rng = scenes.frontend, np.random.default_rng(2)
    loudness = np.linspace(1, 9000, 2 * spec.clip_samples + 5000)
    samples = (rng.standard_normal(len(loudness)) * loudness).astype(np.int16)
    (tmp_path / "package" / "samples.bin").write_bytes(samples.tobytes())
    script = f"""{WRITE}
import {{ readFileSync }} from "node:fs";
import {{ createClassifier }} from "./index.js";
const bytes = readFileSync("samples.bin");
const samples = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
const classifier = await createClassifier();
const results = [], columns = [];
for (let at = 0, piece = 1; at < samples.length; at += piece, piece = (piece * 7) % 5003 + 1) {{
  const given = samples.subarray(at, at + piece);
  results.push(...classifier.push(given, (codes) => columns.push(encoded(codes))));
}}
console.log(JSON.stringify({{ columns, results: results.map((r) => [r.hops, r.label, r.smoothedLabel, encoded(r.codes),
  encoded(r.scores), encoded(r.smoothed)]) }}));"""
    got = json.loads(_node(tmp_path / "package", script).stdout)
    emitted = emit(product.graph, optimise=product.options.optimise)
    hops = SceneFirmware(emitted, spec, QUICK_HOST, "single", hop_samples=product.part.hop_samples).classify(samples)
    assert len(hops) == (2 if hop_s is None else 3)
    arrays = [(hop.codes, hop.scores, hop.smoothed) for hop in hops]
    expected = [[i, hop.label, hop.smoothed_label, *map(_text, arrays[i - 1])] for i, hop in enumerate(hops, start=1)]
    assert got["results"] == expected
    quant = product.graph.tensors[product.graph.input].quant
    (codes,) = LogMelFirmware(spec, quant, QUICK_HOST).codes([[samples[: spec.clip_samples]]])
    columns = np.stack([np.frombuffer(base64.b64decode(each), np.int8) for each in got["columns"]], axis=1)
    compared = spec.n_frames if hop_s is None else spec.n_frames - 2  # the last ones are mirrored at the end of a clip
    assert np.array_equal(columns[:, :compared], codes[:, :compared])


WAVS = [
    *(("PCM_U8", 1), ("PCM_16", 1), ("PCM_16", 2), ("PCM_24", 2), ("PCM_32", 1)),
    *(("FLOAT", 1), ("FLOAT", 6), ("DOUBLE", 2)),
]


def test_wav_files_are_read_as_the_runtime_reads_them(package: Path, tmp_path: Path) -> None:
    """Every encoding, halves between two codes, samples beyond full scale, and channels that cancel included."""
    rate, rng = 16_000, np.random.default_rng(3)
    for subtype, channels in WAVS:
        samples = rng.uniform(-1.2, 1.2, (3000, channels))
        samples[:500] = np.rint(samples[:500] * 65536) / 65536
        for container in ("WAV", "WAVEX"):
            path = tmp_path / f"{subtype}-{channels}-{container}.wav"
            soundfile.write(path, samples, rate, subtype=subtype, format=container)
    left, loud = rng.uniform(-0.5, 0.5, (3000, 1)), rng.uniform(-30, 30, (3000, 18))
    soundfile.write(tmp_path / "cancelling-2.wav", np.concatenate([left, 0.001 - left], axis=1), rate, "FLOAT")
    loud[:, -1] = 5.0 * left[:, 0] - loud[:, :-1].sum(axis=1)  # the order of the sum decides its last bits
    soundfile.write(tmp_path / "many-18.wav", loud, rate, "FLOAT")
    script = f"""{WRITE}
import {{ readdirSync, readFileSync }} from "node:fs";
import {{ readWav, writeWav }} from "./index.js";
const read = {{}};
for (const name of readdirSync(".").filter((name) => name.endsWith(".wav"))) {{
  const wav = readWav(readFileSync(name));
  const again = readWav(writeWav(wav.samples, wav.sampleRate));
  read[name] = [wav.sampleRate, wav.channels, encoded(wav.samples), encoded(again.samples)];
}}
console.log(JSON.stringify(read));"""
    read = json.loads(_node(package, script, tmp_path).stdout)
    assert len(read) == 2 * len(WAVS) + 2
    for name, (sample_rate, channels, first, again) in read.items():
        expected = _text(to_int16(read_audio(tmp_path / name, rate)))
        assert (sample_rate, channels) == (rate, int(Path(name).stem.split("-")[1]))
        assert first == again == expected, name


def test_damaged_wav_files_are_refused(package: Path, tmp_path: Path) -> None:
    folder = tmp_path
    soundfile.write(folder / "a.wav", np.zeros(100), 16_000, subtype="PCM_16")
    soundfile.write(folder / "nan.wav", np.full(100, np.nan), 16_000, subtype="FLOAT")
    soundfile.write(folder / "law.wav", np.zeros(100), 16_000, subtype="ULAW")
    whole = (folder / "a.wav").read_bytes()
    (folder / "short.wav").write_bytes(whole[:-1])
    (folder / "head.wav").write_bytes(whole[:30])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "none.wav").write_bytes(whole[:40] + bytes(4) + whole[44:])
    (folder / "twice.wav").write_bytes(whole + whole[36:])
    (folder / "name.wav").write_bytes(whole[:36] + bytes(8) + whole[36:])
    (folder / "rate.wav").write_bytes(whole[:24] + bytes(4) + whole[28:])
    soundfile.write(folder / "absurd.wav", np.full(100, 3e38), 16_000, subtype="FLOAT")
    (folder / "frame.wav").write_bytes(whole[:32] + b"\x07\x00" + whole[34:])
    script = """
import { readdirSync, readFileSync } from "node:fs";
import { readWav } from "./index.js";
for (const name of readdirSync(".").filter((name) => name.endsWith(".wav"))) {
  try { readWav(readFileSync(name)); console.log(`${name} read`); }
  catch (problem) { console.log(`${name} ${problem.constructor.name} ${problem.message}`); }
}"""
    lines = sorted(_node(package, script, tmp_path).stdout.splitlines())
    assert [line.split(maxsplit=2) for line in lines] == [
        ["a.wav", "read"],
        ["absurd.wav", "Error", "WAV file: sample 0 is 3.0000000054977558e+38: expected finite samples in [-1, 1]"],
        ["empty.wav", "Error", "not a WAV file: expected RIFF and WAVE at its start"],
        ["frame.wav", "Error", "WAV file: 1 channels in frames of 7 bytes"],
        ["head.wav", "Error", "WAV file: it ends early: expected 16 bytes of 'fmt ', got 10"],
        ["law.wav", "Error", "WAV file: encoding 7 with 8 bits: expected integers of 8 to 32 bits, or floats"],
        ["name.wav", "Error", "WAV file: it has no samples"],
        ["nan.wav", "Error", "WAV file: sample 0 is NaN: expected finite samples in [-1, 1]"],
        ["none.wav", "Error", "WAV file: it has no samples"],
        ["rate.wav", "Error", "WAV file: 0 Hz: expected 1000 to 768000 Hz"],
        ["short.wav", "Error", "WAV file: it ends early: expected 200 bytes of 'data', got 199"],
        ["twice.wav", "Error", "WAV file: it has more than one chunk 'data'"],
    ]


def test_several_inputs_and_outputs_are_side_by_side(tmp_path: Path, alone: dict[str, Bundle]) -> None:
    product = _exported(alone["two"], tmp_path / "package")
    codes = random_input(np.random.default_rng(9), product.graph, 3)
    rows = [base64.b64encode(row.tobytes()).decode() for row in codes]
    script = f"""{WRITE}
import {{ createNetwork }} from "./index.js";
const network = await createNetwork();
network.reset();
for (const text of {json.dumps(rows)}) {{
  console.log(encoded(network.invoke(new Int8Array(Uint8Array.from(Buffer.from(text, "base64")).buffer))));
}}"""
    got = [base64.b64decode(line) for line in _node(tmp_path / "package", script).stdout.split()]
    assert got == [row.tobytes() for row in np.asarray(interpret(product.graph, codes))]


def test_the_module_imports_nothing_and_the_readme_builds_it(any_model: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    product = _exported(any_model, folder)
    module, readme = (folder / "model.wasm").read_bytes(), (folder / "README.md").read_text()
    assert IMPORT_SECTION not in sections(module)
    assert f"{memory_bytes(module) // 1024:,} KiB of memory" in readme
    (command,) = re.findall(r"^cd src && (clang .*)$", readme, re.MULTILINE)
    (folder / "model.wasm").unlink()
    subprocess.run(["sh", "-c", command], cwd=folder / "src", check=True)
    assert (folder / "model.wasm").read_bytes() == module
    assert json.loads((folder / "package.json").read_text())["name"] == product.prefix


def test_the_types_declare_what_the_package_exports(any_model: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    _exported(any_model, folder)
    exported = json.loads(_node(folder, 'console.log(JSON.stringify(Object.keys(await import("./index.js"))));').stdout)
    types = (folder / "index.d.ts").read_text()
    declared = {
        name.strip()
        for names in re.findall(r"^export \{([^}]*)\}", types, re.MULTILINE)
        for name in names.split(",")
        if not name.strip().startswith("type ")
    } | set(re.findall(r"^export (?:const|function) (\w+)", types, re.MULTILINE))
    assert declared == set(exported)


def test_a_module_of_another_model_is_refused(package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    shutil.copytree(package, folder)
    path = folder / "model.js"
    path.write_text(re.sub(r'("digest": ")..', r"\g<1>zz", path.read_text()))
    script = 'import("./index.js").then((m) => m.createClassifier()).catch((problem) => console.log(problem.message));'
    assert "the module is of another model: expected zz" in _node(folder, script).stdout
