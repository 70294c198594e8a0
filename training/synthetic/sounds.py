"""The component sounds of synthetic scenes: drones, voices, steps, wheels, birds, engines, wind.

Every function takes a generator and a number of samples at ``RATE_HZ`` and returns float64 (n,) of about unit RMS while
the sound is active; levels, places and rooms are set in :mod:`tinyscene.training.synthetic.scenes`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from tinyscene.runtime.arrays import F64

RATE_HZ = 44_100
Sound = Callable[[np.random.Generator, int], F64]


def shaped_noise(rng: np.random.Generator, n: int, gain: Callable[[F64], F64]) -> F64:
    """Gaussian noise whose amplitude spectrum is ``gain`` of the frequency in hertz."""
    spectrum = np.fft.rfft(rng.standard_normal(n)) * gain(_frequencies(n))
    return normalised(np.fft.irfft(spectrum, n))


def _frequencies(n: int) -> F64:
    """Frequencies in hertz of the real spectrum of n samples."""
    return np.asarray(np.fft.rfftfreq(n, 1 / RATE_HZ), np.float64)


def normalised(x: F64) -> F64:
    """``x`` scaled to unit RMS; silence is returned unchanged."""
    rms = float(np.sqrt(np.mean(x**2)))
    return x / rms if rms > 0 else x


def slow_gain(rng: np.random.Generator, n: int, rate_hz: float, depth: float) -> F64:
    """A positive gain that varies at about ``rate_hz``; ``depth`` is its standard deviation in nepers."""
    knots = max(4, int(n / RATE_HZ * rate_hz * 2) + 2)
    walk = np.interp(np.linspace(0, knots - 1, n), np.arange(knots), rng.standard_normal(knots))
    gain: F64 = np.exp(depth * walk)
    return gain


def tilted(slope_db: float, low_hz: float = 30.0, high_hz: float = 16_000.0) -> Callable[[F64], F64]:
    """An amplitude spectrum that falls by ``slope_db`` per octave between two soft band edges."""

    def gain(hz: F64) -> F64:
        octaves = np.log2(np.maximum(hz, 20.0) / 1000.0)
        edges = 1 / np.sqrt((1 + (low_hz / np.maximum(hz, 1.0)) ** 4) * (1 + (hz / high_hz) ** 6))
        amplitude: F64 = 10 ** (-slope_db * octaves / 20) * edges
        return amplitude

    return gain


def air(rng: np.random.Generator, n: int) -> F64:
    """Background noise of a place: broadband, falling with frequency, with two wide humps."""
    centres = np.exp(rng.uniform(np.log(150), np.log(5000), 2))
    heights = rng.uniform(0, 8, 2)
    base = tilted(rng.uniform(3.5, 7.5))

    def gain(hz: F64) -> F64:
        octaves = np.log2(np.maximum(hz, 20.0)[:, None] / centres)
        amplitude: F64 = base(hz) * 10 ** ((heights * np.exp(-(octaves**2))).sum(axis=1) / 20)
        return amplitude

    return shaped_noise(rng, n, gain) * slow_gain(rng, n, 0.5, 0.1)


def wind(rng: np.random.Generator, n: int) -> F64:
    """Gusts of low rumble with some rustle."""
    rumble = shaped_noise(rng, n, tilted(rng.uniform(7, 10), 20, 900))
    rustle = shaped_noise(rng, n, tilted(0, 2500, 9000))
    gusts = slow_gain(rng, n, 0.6, 0.6)
    return normalised(gusts * (rumble + rng.uniform(0.02, 0.15) * rustle * slow_gain(rng, n, 3, 0.4)))


def ventilation(rng: np.random.Generator, n: int) -> F64:
    """Steady air noise below a few kilohertz with faint fan tones."""
    noise = shaped_noise(rng, n, tilted(rng.uniform(4, 8), 60, rng.uniform(1500, 5000)))
    t = np.arange(n) / RATE_HZ
    blade = rng.uniform(80, 320)
    tones = np.zeros(n)
    for k in range(1, 5):
        tones += np.sin(2 * np.pi * blade * k * t + rng.uniform(0, 6.28)) / k
    return normalised(noise + rng.uniform(0.05, 0.5) * normalised(tones))


def harmonic_drone(rng: np.random.Generator, n: int, f0_hz: float, count: int, slope_db: float, wander: float) -> F64:
    """``count`` harmonics of a fundamental whose frequency varies by about the factor ``wander``."""
    frequency = f0_hz * (1 + wander * np.log(slow_gain(rng, n, 0.7, 1.0)))
    phase = 2 * np.pi * np.cumsum(frequency) / RATE_HZ
    result = np.zeros(n)
    for k in range(1, count + 1):
        if k * f0_hz < 12_000:
            result += (
                10 ** (-slope_db * np.log2(k) / 20) * rng.uniform(0.4, 1.0) * np.sin(k * phase + rng.uniform(0, 6.28))
            )
    return normalised(result)


def diesel(rng: np.random.Generator, n: int) -> F64:
    """Inside a bus: low engine harmonics, roughness, body rumble."""
    f0 = rng.uniform(22, 45)
    drone = harmonic_drone(rng, n, f0, 28, rng.uniform(3, 6), rng.uniform(0.02, 0.12))
    rumble = shaped_noise(rng, n, tilted(8, 30, 700))
    return normalised(drone * slow_gain(rng, n, 6, 0.15) + rng.uniform(0.4, 1.0) * rumble)


def electric_motor(rng: np.random.Generator, n: int, low_hz: float, high_hz: float) -> F64:
    """Traction motor: a gliding whine between two pitches, its harmonics, and rolling noise."""
    whine = harmonic_drone(rng, n, rng.uniform(low_hz, high_hz), 7, rng.uniform(2, 6), rng.uniform(0.03, 0.12))
    rolling = shaped_noise(rng, n, tilted(rng.uniform(4, 7), 40, rng.uniform(1500, 4000)))
    return normalised(rng.uniform(0.4, 1.0) * whine + rolling * slow_gain(rng, n, 1.5, 0.2))


def metro_motor(rng: np.random.Generator, n: int) -> F64:
    """A long train: low whine."""
    return electric_motor(rng, n, 120, 380)


def tram_motor(rng: np.random.Generator, n: int) -> F64:
    """A light vehicle: higher whine, overlapping that of a metro."""
    return electric_motor(rng, n, 320, 900)


def scattered(rng: np.random.Generator, n: int, rate_hz: float, event: Callable[[], F64], jitter: float = 1.0) -> F64:
    """Repeated ``event`` at ``rate_hz``, from regular (jitter 0) to irregular (1), with random levels."""
    result = np.zeros(n)
    position = rng.uniform(0, 1 / rate_hz)
    while position * RATE_HZ < n:
        sound = event() * 10 ** (rng.normal(0, 3) / 20)
        start = int(position * RATE_HZ)
        stop = min(n, start + len(sound))
        result[start:stop] += sound[: stop - start]
        position += (1 / rate_hz) * max(0.1, 1 + jitter * rng.uniform(-0.9, 0.9))
    return normalised(result)


def knock(rng: np.random.Generator, seconds: float, centre_hz: float, octaves: float) -> F64:
    """A noise burst around ``centre_hz`` that decays within ``seconds``."""
    n = int(seconds * RATE_HZ)

    def gain(hz: F64) -> F64:
        band: F64 = np.exp(-0.5 * (np.log2(np.maximum(hz, 20.0) / centre_hz) / octaves) ** 2)
        return band

    burst: F64 = shaped_noise(rng, n, gain) * np.exp(-5 * np.arange(n) / n)
    return burst


def rail_joints(rng: np.random.Generator, n: int) -> F64:
    """Pairs of wheels over rail joints, at a regular rate."""
    gap, centre = rng.uniform(0.08, 0.16), rng.uniform(150, 600)

    def pair() -> F64:
        result = np.zeros(int((gap + 0.2) * RATE_HZ))
        for start in (0.0, gap):
            hit = knock(rng, 0.15, centre, 0.8) + 0.4 * knock(rng, 0.15, 2200, 0.7)
            at = int(start * RATE_HZ)
            result[at : at + len(hit)] += hit
        return result

    return scattered(rng, n, rng.uniform(0.8, 2.4), pair, 0.15)


def squeal(rng: np.random.Generator, n: int) -> F64:
    """Wheels or brakes: high, narrowband, intermittent."""
    tone = harmonic_drone(rng, n, rng.uniform(1500, 4200), 3, 8, 0.01)
    gate = np.clip(np.log(slow_gain(rng, n, 0.8, 1.0)) - 0.3, 0, 1)
    return normalised(tone * gate)


def footsteps(rng: np.random.Generator, n: int) -> F64:
    """One to four walkers on one floor."""
    floor_hz = rng.uniform(250, 2200)
    walkers = int(rng.integers(1, 5))

    def step() -> F64:
        return knock(rng, 0.09, floor_hz * rng.uniform(0.8, 1.25), 0.9)

    result = np.zeros(n)
    for _ in range(walkers):
        result += scattered(rng, n, rng.uniform(1.5, 2.3), step, 0.12)
    return normalised(result)


def birds(rng: np.random.Generator, n: int) -> F64:
    """Chirps: short sweeps in motifs."""
    centre = rng.uniform(2500, 6000)

    def chirp() -> F64:
        notes = []
        for _ in range(int(rng.integers(1, 6))):
            m = int(rng.uniform(0.04, 0.14) * RATE_HZ)
            sweep = np.linspace(centre * rng.uniform(0.8, 1.2), centre * rng.uniform(0.8, 1.3), m)
            notes += [np.sin(2 * np.pi * np.cumsum(sweep) / RATE_HZ) * np.hanning(m), np.zeros(int(0.04 * RATE_HZ))]
        return np.concatenate(notes)

    return scattered(rng, n, rng.uniform(0.5, 2.0), chirp)


def syllable(rng: np.random.Generator, f0_hz: float, tract: float) -> F64:
    """A vowel: glottal pulses through three formants, sometimes with noise."""
    n = int(rng.uniform(0.10, 0.26) * RATE_HZ)
    frequency = f0_hz * np.exp(np.linspace(rng.normal(0, 0.08), rng.normal(-0.05, 0.08), n))
    phase = np.cumsum(frequency) / RATE_HZ
    pulses = np.diff(np.floor(phase), prepend=0.0)
    pulses += (0.05 if rng.random() < 0.75 else 0.6) * rng.standard_normal(n) * np.hanning(n) * 0.05
    size = 1 << (n - 1).bit_length()
    hz = np.fft.rfftfreq(size, 1 / RATE_HZ)
    formants = np.array([rng.uniform(300, 800), rng.uniform(900, 2200), rng.uniform(2300, 3200)]) * tract
    gain = sum(a / (1 + ((hz - f) / (60 + 0.04 * f)) ** 2) for a, f in zip((1.0, 0.5, 0.25), formants, strict=True))
    voiced = np.fft.irfft(np.fft.rfft(pulses, size) * gain, size)[:n] * np.hanning(n)
    return normalised(voiced)


def speech(rng: np.random.Generator, n: int) -> F64:
    """One speaker, with pauses between phrases."""
    f0, tract = rng.uniform(90, 240), rng.uniform(0.9, 1.2)
    talk = scattered(rng, n, rng.uniform(3.5, 5.5), lambda: syllable(rng, f0, tract), 0.4)
    pauses = np.clip(np.log(slow_gain(rng, n, 0.8, 1.0)) * 2 + 1.0, 0, 1)
    return normalised(talk * pauses)


def babble(rng: np.random.Generator, n: int) -> F64:
    """Several speakers at once."""
    result = np.zeros(n)
    for _ in range(int(rng.integers(4, 8))):
        result += speech(rng, n) * 10 ** (rng.normal(0, 4) / 20)
    return normalised(result)


def announcement(rng: np.random.Generator, n: int) -> F64:
    """A chime of two or three notes, then a voice through a narrow loudspeaker."""
    notes = []
    pitch = rng.uniform(400, 800)
    for _ in range(int(rng.integers(2, 4))):
        m = int(0.45 * RATE_HZ)
        t = np.arange(m) / RATE_HZ
        tone = np.sin(2 * np.pi * pitch * t) + 0.4 * np.sin(4 * np.pi * pitch * t)
        notes.append(tone * np.exp(-4 * t))
        pitch *= float(rng.choice([0.75, 0.8, 1.25, 1.333]))
    voice = speech(rng, n)
    spectrum = np.fft.rfft(voice) * tilted(0, 400, 3500)(_frequencies(n))
    chime = np.concatenate(notes)
    result = np.roll(normalised(np.fft.irfft(spectrum, n)), len(chime))
    result[: len(chime)] = 0
    result[: len(chime)] += 1.5 * normalised(chime)[:n]
    return normalised(np.roll(result, int(rng.integers(0, n))))


def passing_cars(rng: np.random.Generator, n: int) -> F64:
    """Tyres and engines; each car rises and falls over seconds."""
    t = np.arange(n) / RATE_HZ
    result = 0.1 * shaped_noise(rng, n, tilted(6, 40, 3000))
    for _ in range(int(rng.integers(2, 6))):
        at, width = rng.uniform(0, n / RATE_HZ), rng.uniform(0.6, 2.0)
        tyres = shaped_noise(rng, n, tilted(rng.uniform(2, 5), 80, rng.uniform(1500, 5000)))
        engine = harmonic_drone(rng, n, rng.uniform(35, 90), 12, 5, 0.03)
        result += np.exp(-0.5 * ((t - at) / width) ** 2) * (tyres + rng.uniform(0.1, 0.6) * engine)
    return normalised(result)


def beeps(rng: np.random.Generator, n: int) -> F64:
    """Doors, tills, ticket machines: short tones of one pitch."""
    m, pitch = int(rng.uniform(0.08, 0.25) * RATE_HZ), rng.uniform(900, 2600)
    tone = np.sin(2 * np.pi * pitch * np.arange(m) / RATE_HZ) * np.hanning(m) ** 0.25
    return scattered(rng, n, rng.uniform(0.4, 1.6), lambda: tone, 0.6)


def rolling_cases(rng: np.random.Generator, n: int) -> F64:
    """Small hard wheels over tiles."""
    rate = rng.uniform(9, 18)
    rattle = scattered(rng, n, rate, lambda: knock(rng, 0.03, 1800, 0.9), 0.3)
    return normalised(rattle * np.clip(slow_gain(rng, n, 0.4, 0.8), 0, 3))


def bell(rng: np.random.Generator, n: int) -> F64:
    """A tram's bell: decaying inharmonic partials."""
    m, pitch = int(0.8 * RATE_HZ), rng.uniform(700, 1500)
    t = np.arange(m) / RATE_HZ
    ring = np.zeros(m)
    for r in (1.0, 2.01, 2.77, 4.1):
        ring += np.sin(2 * np.pi * pitch * r * t) * np.exp(-(3 + 2 * r) * t)
    return scattered(rng, n, rng.uniform(0.3, 0.9), lambda: ring, 0.8)


def music(rng: np.random.Generator, n: int) -> F64:
    """Chords at a regular pulse, as from ceiling loudspeakers."""
    root = rng.uniform(110, 220)

    def chord() -> F64:
        m = int(0.5 * RATE_HZ)
        t = np.arange(m) / RATE_HZ
        base = root * 2 ** (float(rng.choice([0, 2, 4, 5, 7, 9])) / 12)
        tones = np.zeros(m)
        for r, k in product((1, 1.26, 1.5), (1, 2, 3)):
            tones += np.sin(2 * np.pi * base * r * k * t) / k
        decaying: F64 = tones * np.exp(-3 * t)
        return decaying

    return scattered(rng, n, rng.uniform(1.5, 2.5), chord, 0.02)


def fountain(rng: np.random.Generator, n: int) -> F64:
    """Falling water: steady high-frequency noise."""
    return shaped_noise(rng, n, tilted(rng.uniform(-1, 2), 400, 12_000)) * slow_gain(rng, n, 8, 0.1)


SOUNDS: dict[str, Sound] = {
    "air": air,
    "wind": wind,
    "ventilation": ventilation,
    "diesel": diesel,
    "metro_motor": metro_motor,
    "tram_motor": tram_motor,
    "rail_joints": rail_joints,
    "squeal": squeal,
    "footsteps": footsteps,
    "birds": birds,
    "speech": speech,
    "babble": babble,
    "announcement": announcement,
    "passing_cars": passing_cars,
    "beeps": beeps,
    "rolling_cases": rolling_cases,
    "bell": bell,
    "music": music,
    "fountain": fountain,
}
