"""Examples for boards: they compile against declarations of the SDKs, and do with samples what the pages say."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_harness.bundles import FRONTEND, LABELS, small_bundle
from tests.firmware_harness.machines import on_each
from tests.firmware_harness.ship.pio import received
from tinyscene.firmware_harness.build.targets import CORTEX_M0PLUS, CORTEX_M4, CORTEX_M33, RISCV32, XTENSA, Target
from tinyscene.firmware_harness.ship.board_rates import board_rates
from tinyscene.firmware_harness.ship.formats import FORMATS, Measured, contents, export
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.runtime.audio import mono_float32
from tinyscene.runtime.bundle import Bundle, read_bundle
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.log_mel import LogMel

SDK = Path(__file__).resolve().parent / "sdk"
STRICT = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-c")
FAKE_MICROPHONE = """
#include <stdio.h>
#include <stdlib.h>
#include "microphone.h"

static Ring* samples;

int microphone_start(Ring* ring) {
    samples = ring;
    return 0;
}

void microphone_wait(void) {
    const int count = atoi(getenv("BLOCK"));
    int16_t sample;
    for (int i = 0; i < count; ++i) {
        if (fread(&sample, sizeof sample, 1, stdin) != 1) {
            exit(0);
        }
        ring_put(samples, sample);
    }
}
"""


def _exported(bundle: Bundle, folder: Path, form: str, cpu: str = "c99") -> Path:
    export(Product(bundle, Options(cpu=cpu, prefix="asc"), "tinyscene"), FORMATS[form], folder)
    return folder


def _compile(target: Target, sources: Sequence[Path], includes: Sequence[Path], folder: Path, *flags: str) -> None:
    for source in sources:
        searched = [f"-I{path}" for path in (source.parent, *includes)]
        command = [target.compiler, *target.compile_flags, *STRICT, *flags, *searched, str(source)]
        done = subprocess.run([*command, "-o", str(folder / "object.o")], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{source.name}: {done.stderr[:500]}"


@pytest.mark.parametrize(
    ("target", "model"),
    [
        pytest.param(XTENSA, "scenes", id="scenes-xtensa"),
        pytest.param(RISCV32, "two", id="two-riscv32"),
        pytest.param(RISCV32, "scenes", id="scenes-riscv32", marks=pytest.mark.slow),
        pytest.param(XTENSA, "two", id="two-xtensa", marks=pytest.mark.slow),
    ],
)
@pytest.mark.needs_tool("xtensa-lx106-elf-gcc", "riscv64-unknown-elf-gcc")
def test_esp_idf(target: Target, model: str, scenes: Bundle, alone: dict[str, Bundle], tmp_path: Path) -> None:
    folder = _exported(scenes if model == "scenes" else alone[model], tmp_path / "asc", "esp-idf")
    sources = sorted(folder.glob("examples/*/main/*.c"))
    assert {path.name for path in sources} >= {"main.c", "app_main.c"}
    _compile(target, [folder / "src" / "asc.c", *sources], [folder / "include", SDK / "esp-idf"], tmp_path)


@pytest.mark.parametrize(
    ("target", "microphone"),
    [
        pytest.param(CORTEX_M0PLUS, "i2s", id="pico-i2s"),
        pytest.param(CORTEX_M33, "adc", id="pico2-adc", marks=pytest.mark.slow),
        pytest.param(CORTEX_M0PLUS, "adc", id="pico-adc", marks=pytest.mark.slow),
        pytest.param(CORTEX_M33, "i2s", id="pico2-i2s", marks=pytest.mark.slow),
    ],
)
@pytest.mark.needs_tool("cmake", "arm-none-eabi-gcc")
def test_pico_sdk(target: Target, microphone: str, scenes: Bundle, tmp_path: Path) -> None:
    """The project is configured, compiled, linked without the SDK's functions, and sealed before it is converted."""
    folder = _exported(scenes, tmp_path / "asc", "pico-sdk", target.cpu)
    build, flags = tmp_path / "build", " ".join(target.compile_flags)
    options = {
        "PICO_SDK_PATH": SDK / "pico-sdk",
        "MICROPHONE": microphone,
        "CMAKE_SYSTEM_NAME": "Generic",
        "CMAKE_TRY_COMPILE_TARGET_TYPE": "STATIC_LIBRARY",
        "CMAKE_C_COMPILER": target.compiler,
        "CMAKE_CXX_COMPILER": target.compiler.replace("gcc", "g++"),
        "CMAKE_C_FLAGS": f"{flags} -Wall -Wextra -Werror",
        "CMAKE_EXE_LINKER_FLAGS": "-nostartfiles --specs=nosys.specs -Wl,-emain -Wl,--unresolved-symbols=ignore-all",
    }
    words = [f"-D{name}={value}" for name, value in options.items()]
    subprocess.run(
        ["cmake", "-S", folder / "examples" / "listen", "-B", build, *words], check=True, capture_output=True
    )
    done = subprocess.run(["cmake", "--build", build], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (image,) = (path for path in build.iterdir() if path.name in ("asc_listen", "asc_listen.elf"))
    objcopy = target.toolchain.tool("objcopy")
    subprocess.run([objcopy, "-O", "binary", "-j", ".asc_seal", image, tmp_path / "seal"], check=True)
    assert b"\xff" * 12 not in (tmp_path / "seal").read_bytes()
    assert (build / "asc_listen.uf2").exists()


@pytest.mark.parametrize("microphone", [("-DHAL_DFSDM_MODULE_ENABLED",), ("-DHAL_SAI_MODULE_ENABLED",)])
@on_each([CORTEX_M4])
def test_stm32(target: Target, microphone: tuple[str], scenes: Bundle, tmp_path: Path) -> None:
    folder = _exported(scenes, tmp_path / "asc", "cmake", "dsp")
    sources = [folder / "examples" / "stm32" / name for name in ("main.c", "microphone.c")]
    _compile(target, sources, [folder / "include", SDK / "stm32"], tmp_path, "-Dmain=run_listener", *microphone)


@on_each([CORTEX_M4])
def test_nano_33_ble(target: Target, scenes: Bundle, tmp_path: Path) -> None:
    spec = replace(FRONTEND, name="small16", sample_rate_hz=16_000, f_max_hz=8000.0)
    bundle = read_bundle(small_bundle(tmp_path, frontend=spec))
    folder = _exported(bundle, tmp_path / "asc", "arduino", "dsp")
    flags = ("-x", "c++", "-std=gnu++14", "-include", "Arduino.h", "-fno-exceptions", "-fno-rtti", "-Wno-unused")

    def compiled(library: Path) -> subprocess.CompletedProcess[str]:
        sketch = library / "examples" / "Nano33Ble" / "Nano33Ble.ino"
        searched = [f"-I{path}" for path in (sketch.parent, library / "src", SDK / "arduino")]
        words = [*target.compile_flags, *flags, "-Wall", "-Wextra", "-Werror", *searched, "-c", str(sketch)]
        command = [target.compiler, *words, "-o", str(tmp_path / "sketch.o")]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = compiled(folder)
    assert done.returncode == 0, done.stderr[:500]
    refused = compiled(_exported(scenes, tmp_path / "fast", "arduino", "dsp"))
    assert "records at 16 kHz" in refused.stderr
    assert refused.stderr.count("error:") == 1


@pytest.fixture(scope="module")
def listener(scenes: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built for this machine with a file instead of a microphone."""
    folder = _exported(scenes, tmp_path_factory.mktemp("listener") / "asc", "pico-sdk")
    example, fake = folder / "examples" / "listen", folder / "fake.c"
    fake.write_text(FAKE_MICROPHONE)
    words = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", f"-I{example}", f"-I{folder / 'include'}"]
    sources = [example / "main.c", fake, folder / "src" / "asc.c"]
    subprocess.run(["gcc", *words, *map(str, sources), "-lm", "-o", str(folder / "listen")], check=True)
    return folder / "listen"


def _listened(listener: Path, samples: np.ndarray, block: int) -> list[str]:
    """Lines that the example prints for samples that arrive in blocks."""
    pcm, environment = samples.astype("<i2").tobytes(), {"BLOCK": str(block)}
    ran = subprocess.run([listener], input=pcm, capture_output=True, check=True, env=environment)
    return ran.stdout.decode().splitlines()


@pytest.mark.needs_tool("gcc")
def test_the_example_prints_label_and_level(listener: Path, scenes: Bundle) -> None:
    clip = FRONTEND.clip_samples
    noise = np.random.default_rng(5).normal(0.0, 3000.0, clip + 256).clip(-9830, 9830).astype(np.int16)
    tone = np.where(np.arange(clip) % 40 < 20, 32767, -32768)
    lines = _listened(listener, np.concatenate([noise, tone]), 256)
    assert lines[0] == "self-test 0"
    hop = re.fullmatch(r"(\w+) (\d+) %, level (\d+) / 1000", lines[1])
    assert hop is not None
    scores = SceneClassifier.open(scenes, "numpy-double").scores(LogMel(FRONTEND)(mono_float32(noise[:clip])))
    assert hop[1] == LABELS[int(scores.argmax())]
    assert abs(int(hop[2]) - 100 * float(scores.max())) <= 1.5
    assert int(hop[3]) == 299  # 9830 of 32767, rounded down
    assert lines[2].endswith("level 1000 / 1000")
    assert lines[3:] == ["clipped: lower the gain"]


@pytest.mark.needs_tool("gcc")
def test_the_example_reports_silence_and_lost_samples(listener: Path) -> None:
    """Blocks larger than the ring."""
    lines = _listened(listener, np.zeros(3 * FRONTEND.clip_samples, np.int16), block=20_000)
    assert "no signal: check the wiring of the data pin" in lines
    assert any(re.fullmatch(r"\d+ samples lost: the processor is too slow", line) for line in lines)


def test_the_pio_program_receives_the_left_channel(scenes: Bundle) -> None:
    files = contents(Product(scenes, Options(prefix="asc"), "tinyscene"), FORMATS["pico-sdk"])
    text = files["examples/listen/i2s_left.pio"].decode()
    words = np.random.default_rng(9).integers(0, 1 << 32, 20, np.uint64).tolist()
    pushed, pins = received(text, words, 24)
    assert pushed[1:20] == words[1:]  # the first one begins in the middle of a frame
    clocks = [clock for clock, _ in pins[: 128 * 3]]
    assert all(clock != before for before, clock in pairwise(clocks))
    selects = [select for _, select in pins[: 128 * 3]]
    changes = [at for at in range(1, len(selects)) if selects[at] != selects[at - 1]]
    assert set(np.diff(changes)) == {64}
    (divider,) = re.findall(r"CLOCKS_PER_SAMPLE = (\d+)", files["examples/listen/microphone_i2s.c"].decode())
    assert int(divider) == 128


@pytest.mark.slow
@pytest.mark.needs_tool("riscv64-unknown-elf-gcc", "qemu-system-riscv32", "xtensa-lx106-elf-gcc", "qemu-system-xtensa")
def test_instructions_for_a_second_of_audio_are_in_the_readme(scenes: Bundle) -> None:
    product, form = Product(scenes, Options(prefix="asc", hop_s=0.3), "tinyscene"), FORMATS["esp-idf"]
    rates = board_rates(product, form.boards)
    assert [rate.board.name for rate in rates] == ["ESP32-S3", "ESP32-C3"]
    for rate in rates:
        hops_per_second = FRONTEND.sample_rate_hz / product.part.hop_samples
        assert 1.0 < rate.network / hops_per_second / product.macs < 40.0
        assert 10e6 < rate.front_end < 1e9
        assert rate.share == (rate.network + rate.front_end) / rate.board.clock_hz
        assert rate.cycles is None  # no cost model of RISC-V and Xtensa
    from tinyscene.firmware_harness.run.engine import Figures

    readme = contents(product, form, Measured(Figures(product.arena_bytes), {}, rates))["README.md"].decode()
    assert re.search(r"^\| ESP32-C3 \| 160 MHz \| [\d.]+ M \| [\d.]+ M \| [\d.]+ \|  \|$", readme, re.MULTILINE)
    assert "## Instructions for a second of audio" in readme


def test_boards_that_cannot_run_the_kernels_are_left_out(scenes: Bundle, alone: dict[str, Bundle]) -> None:
    """The kernels of Cortex-M4 run on the Pico 2 and not on the Pico; a network alone has no audio."""
    product = Product(alone["two"], Options(prefix="asc"), "tinyscene")
    assert board_rates(product, FORMATS["pico-sdk"].boards) == ()
    assert "second of audio" not in contents(product, FORMATS["pico-sdk"])["README.md"].decode()
