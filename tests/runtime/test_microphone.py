"""The microphone without hardware: drifting clocks, lost blocks, and a simulated PortAudio.

No machine that tests has a sound card, and PortAudio is not installed with the tests: the stand-in has its interface
and sends blocks from a thread of its own, as PortAudio does.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tests.runtime.listening import RATE, noise
from tinyscene import command_line
from tinyscene.runtime import microphone as microphone_module
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.install_hint import install_hint
from tinyscene.runtime.microphone import BLOCK_S, LiveClock, Microphone
from tinyscene.runtime.stream import Gap


def _captured(clock, seconds, *, drift_ppm=0.0, jitter_s=0.0, lost=None, seed=0):
    """Observe blocks; ``lost``: number of blocks missing before a block. Returns the seconds lost before each."""
    rng, block, sample, lost_s = np.random.default_rng(seed), round(BLOCK_S * clock.rate_hz), 0, []
    for number in range(round(seconds / BLOCK_S)):
        sample += block * (lost or {}).get(number, 0)
        at = 100.0 + sample / clock.rate_hz * (1 + drift_ppm / 1e6) + rng.uniform(-jitter_s, jitter_s)
        lost_s.append(clock.observe(block, at))
        sample += block
    return lost_s


@pytest.mark.parametrize("drift_ppm", [-300.0, -20.0, 0.0, 80.0, 300.0])
def test_drift_is_measured_and_is_not_a_gap(drift_ppm):
    clock = LiveClock(48_000)
    assert not any(_captured(clock, 6 * 3600, drift_ppm=drift_ppm, jitter_s=0.004))
    assert clock.drift_ppm == pytest.approx(drift_ppm, abs=2)
    assert clock.wall_s(20_000.0) == pytest.approx(20_000.0 * (1 + drift_ppm / 1e6), abs=0.05)


def test_drift_is_none_at_first():
    clock = LiveClock(48_000)
    _captured(clock, 20, drift_ppm=100, jitter_s=0.004)
    assert clock.drift_ppm is None
    assert clock.wall_s(10.0) == 10.0


@pytest.mark.parametrize("drift_ppm", [0.0, 200.0, -200.0])
def test_lost_audio_is_reported_at_its_position(drift_ppm):
    clock, lost = LiveClock(44_100), {40: 1, 41: 3, 700: 20, 5000: 200}
    lost_s = _captured(clock, 600, drift_ppm=drift_ppm, jitter_s=0.003, lost=lost)
    assert [number for number, seconds in enumerate(lost_s) if seconds] == sorted(lost)
    for number, blocks in lost.items():
        assert lost_s[number] == pytest.approx(blocks * BLOCK_S, abs=0.008)
    assert clock.gaps == 4
    assert clock.drift_ppm == pytest.approx(drift_ppm, abs=25)


class PortAudioError(Exception):
    pass


class StandIn:
    """The part of sounddevice that is used, with a device that plays samples and then stops."""

    PortAudioError = PortAudioError

    def __init__(self, samples, *, rate_hz=RATE, skip=(), overflow=(), pause_s=0.0, modes=(1,)):
        """``samples``: int16 (n,) or (n, channels); ``modes``: numbers of channels with which the device opens."""
        self.samples, self.rate_hz, self.skip, self.overflow, self.pause_s = samples, rate_hz, skip, overflow, pause_s
        self.modes = modes
        self.closed = False

    def query_devices(self, device, kind):
        if device not in (None, 3, "card"):
            raise ValueError(f"No input device matching {device!r}")
        properties = {"default_samplerate": float(self.rate_hz), "max_input_channels": max(self.modes)}
        return {"name": "a sound card", **properties}

    def InputStream(self, *, samplerate, blocksize, device, channels, dtype, callback):
        if samplerate < 8000:
            raise PortAudioError("Invalid sample rate")
        if channels not in self.modes:
            raise PortAudioError("Invalid number of channels")
        assert dtype == "int16"

        def play():
            for number, at in enumerate(range(0, len(self.samples) - blocksize + 1, blocksize)):
                if number not in self.skip:
                    times = SimpleNamespace(inputBufferAdcTime=5.0 + at / samplerate)
                    status = SimpleNamespace(input_overflow=number in self.overflow)
                    callback(self.samples[at : at + blocksize].reshape(blocksize, -1), blocksize, times, status)
                time.sleep(self.pause_s)

        self.thread = threading.Thread(target=play)
        return SimpleNamespace(start=self.thread.start, close=self._close)

    def _close(self):
        self.thread.join()
        self.closed = True


@pytest.fixture
def device(monkeypatch):
    def plug_in(samples, **details):
        stand_in = StandIn(samples, **details)
        monkeypatch.setitem(sys.modules, "sounddevice", stand_in)
        return stand_in

    return plug_in


def _recording(seconds, seed=1):
    return (noise(seed, round(seconds * RATE)) * 20_000).astype(np.int16)


def test_a_microphone_returns_the_played_samples(device):
    samples = _recording(2)
    library = device(samples)
    with Microphone() as microphone:
        blocks = list(microphone.pieces(2))
    assert np.array_equal(np.concatenate(blocks), samples)
    assert (microphone.name, microphone.rate_hz, library.closed) == ("a sound card", RATE, True)
    assert microphone.health.captured_s == 2
    assert (microphone.health.overruns, microphone.health.gaps) == (0, 0)


def test_a_device_with_two_channels_only_is_opened_with_two_and_mixed(device):
    left, right = _recording(1, seed=2), _recording(1, seed=3)
    device(np.stack([left, right], axis=1), modes=(2,))
    with Microphone() as microphone:
        mixed = np.concatenate(list(microphone.pieces(1)))
    assert mixed.dtype == np.int16
    assert np.array_equal(mixed, (left.astype(np.int32) + right) // 2)


def test_the_first_error_is_reported_where_no_number_of_channels_works(bundle, device, capsys):
    device(_recording(1), modes=(4,))
    assert command_line.main(["run", str(bundle.path), "--mic", "--quiet"]) == 2
    assert "got Invalid number of channels; next: choose another" in capsys.readouterr().err


@pytest.mark.parametrize("rate_hz", [0, 1, 999, 768_001, float("nan"), True])
def test_a_rate_outside_the_limits_is_refused_before_the_device_is_opened(device, rate_hz):
    device(_recording(1))
    with pytest.raises(RuntimeFailure, match=r"microphone, sampling rate: invalid value; expected 1,000 to 768,000 Hz"):
        Microphone(rate_hz)


def test_lost_blocks_are_gaps_at_their_positions(device):
    samples = _recording(3)
    device(samples, skip={10, 11, 12}, overflow={13})
    block = round(BLOCK_S * RATE)
    with Microphone() as microphone:
        blocks = list(microphone.pieces(2.5))
    assert isinstance(blocks[10], Gap)
    assert blocks[10].seconds == pytest.approx(3 * BLOCK_S)
    assert np.array_equal(blocks[11], samples[13 * block : 14 * block])
    assert (microphone.health.overruns, microphone.health.gaps) == (1, 1)


def test_a_slow_reader_loses_blocks_and_gets_a_gap(device):
    library = device(_recording(8))
    with Microphone() as microphone:
        library.thread.join()  # nothing is read before everything was played: the queue has 5 s
        pieces = microphone.pieces(5)
        blocks = [next(pieces) for _ in range(100)]
    assert not any(isinstance(piece, Gap) for piece in blocks)
    assert microphone.health.overruns == 60


def test_a_device_that_stops_is_an_error(device, monkeypatch):
    monkeypatch.setattr(microphone_module, "QUEUE_S", 0.3)
    device(_recording(0.2))
    with Microphone() as microphone, pytest.raises(RuntimeFailure, match=r"no audio for 0\.3 s"):
        list(microphone.pieces())


def test_run_classifies_a_microphone(bundle, device, capsys):
    samples = _recording(4)
    device(samples, skip={30, 31})
    assert command_line.main(["run", str(bundle.path), "--mic", "--seconds", "3.5", "--json"]) == 0
    printed = capsys.readouterr()
    records = [json.loads(line) for line in printed.out.splitlines()]
    block = round(BLOCK_S * RATE)
    pieces = [samples[: 30 * block], Gap(2 * BLOCK_S), samples[32 * block :]]
    expected = list(SceneClassifier.open(bundle).stream(RATE).events(pieces))
    assert [record["time_s"] for record in records] == [event.time_s for event in expected][: len(records)]
    assert [record["label"] for record in records] == [event.label for event in expected][: len(records)]
    assert len(records) == 3
    notes = printed.err.splitlines()
    assert notes[0] == "note: a sound card: 32,000 Hz; stop with Ctrl-C"
    assert notes[1] == "note: a sound card: 3.5 s captured; 0 overruns, 1 gaps, 0.10 s lost"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [(["--device", "other"], "No input device matching 'other'"), (["--rate", "4000"], "Invalid sample rate")],
)
def test_a_device_that_cannot_be_opened_is_one_line(bundle, device, capsys, words, complaint):
    device(_recording(1))
    assert command_line.main(["run", str(bundle.path), "--mic", "--quiet", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: microphone: cannot be opened")
    assert complaint in line
    assert line.endswith("--device")


def test_a_missing_sounddevice_names_the_package(bundle, monkeypatch, capsys):
    if importlib.util.find_spec("sounddevice") is not None:
        monkeypatch.setitem(sys.modules, "sounddevice", None)  # simulates a missing package
    assert command_line.main(["run", str(bundle.path), "--mic"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: microphone: the package sounddevice is not installed; next: {install_hint('mic')}"
