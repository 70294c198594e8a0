"""The host: its hardware and software, and its sensors for memory, clock, temperature, throttling and energy.

Read from Linux's /proc and /sys and from a Raspberry Pi's firmware; values that a machine does not provide are None.
Records contain no host name and no user name, so that they can be published.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from .errors import RuntimeFailure
from .processes import TimeoutExpired, run

ENGINE_PACKAGES = ("ai-edge-litert", "tflite-runtime", "onnxruntime", "tflite-micro")
# Bits of `vcgencmd get_throttled`; the bit sixteen higher is set if the condition occurred since boot.
THROTTLING = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
SINCE_BOOT = 16


@dataclass(frozen=True)
class Host:
    """Hardware and software of a machine."""

    cpu: str
    board: str | None
    architecture: str
    cores: int
    usable_cores: int
    memory_bytes: int | None
    governor: str | None
    system: str
    python: str
    packages: dict[str, str]


@dataclass(frozen=True)
class Reading:
    """One reading of the sensors."""

    rss_bytes: int | None
    frequency_hz: int | None  # the fastest core's
    temperature_c: float | None  # the hottest zone's
    throttling: tuple[str, ...] | None  # conditions now or since boot; empty if there were none


@dataclass
class EnergyMeter:
    """Energy between two calls of :meth:`joules`, from a counter (RAPL) or a power sensor (INA2xx) and the clock."""

    source: str
    _counters: list[tuple[Path, int]] = field(default_factory=list)  # and the value at which each wraps, in microjoules
    _power: Path | None = None
    _last: list[int] = field(default_factory=list)
    _last_s: float = 0.0

    def joules(self) -> float:
        """Energy in joules since the previous call, 0 for the first. A power sensor needs frequent calls."""
        now_s = time.monotonic()
        if self._power is not None:
            spent = 1e-6 * int(self._power.read_text()) * (now_s - self._last_s) if self._last_s else 0.0
        else:
            now = [int(path.read_text()) for path, _ in self._counters]
            pairs = zip(now, self._last or now, self._counters, strict=True)
            spent = sum(1e-6 * ((after - before) % (wraps_at + 1)) for after, before, (_, wraps_at) in pairs)
            self._last = now
        self._last_s = now_s
        return spent


class Sensors:
    """Sensors of the machine whose file system is at ``root``."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc, self._sys = root / "proc", root / "sys"

    def host(self) -> Host:
        """Describe the machine and the packages that affect speed."""
        info = _text(self._proc / "cpuinfo") or ""
        model = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", info, re.MULTILINE)
        total = re.search(r"^MemTotal:\s*(\d+) kB", _text(self._proc / "meminfo") or "", re.MULTILINE)
        return Host(
            cpu=model[1].strip() if model else platform.processor() or platform.machine(),
            board=(_text(self._proc / "device-tree" / "model") or "").strip("\0\n") or None,
            architecture=platform.machine(),
            cores=os.cpu_count() or 1,
            usable_cores=usable_cores(),
            memory_bytes=int(total[1]) * 1024 if total else None,
            governor=_text(self._sys / "devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            system=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            packages=versions("numpy", "soxr", *ENGINE_PACKAGES),
        )

    def read(self) -> Reading:
        frequencies = _numbers(self._sys.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))  # kHz
        zones = _numbers(self._sys.glob("class/thermal/thermal_zone*/temp"))  # thousandths of a degree
        return Reading(
            rss_bytes=self._status_bytes("VmRSS"),
            frequency_hz=1000 * max(frequencies) if frequencies else None,
            temperature_c=max(zones) / 1000 if zones else None,
            throttling=self._throttling(),
        )

    def load(self) -> float | None:
        """Load average over the last minute."""
        text = _text(self._proc / "loadavg")
        return float(text.split()[0]) if text else None

    def peak_rss_bytes(self) -> int | None:
        return self._status_bytes("VmHWM")

    def energy_meter(self) -> EnergyMeter | None:
        """An energy meter, if the machine has a readable one; RAPL packages are preferred to a power sensor."""
        counters = []
        for zone in sorted(self._sys.glob("class/powercap/intel-rapl:[0-9]*")):
            top = zone.name.count(":") == 1  # other zones are parts of these
            wraps_at = _numbers([zone / "max_energy_range_uj"])
            if top and wraps_at and _numbers([zone / "energy_uj"]):
                counters.append((zone / "energy_uj", wraps_at[0]))
        if counters:
            return EnergyMeter("RAPL", counters)
        for sensor in sorted(self._sys.glob("class/hwmon/hwmon*")):
            name = _text(sensor / "name") or ""
            if name.startswith("ina2") and _numbers([sensor / "power1_input"]):
                return EnergyMeter(name, _power=sensor / "power1_input")
        return None

    def _throttling(self) -> tuple[str, ...] | None:
        """A Raspberry Pi's throttling flags, from sysfs or vcgencmd."""
        text = _text(self._sys / "devices/platform/soc/soc:firmware/get_throttled")
        tool = shutil.which("vcgencmd")
        if text is None and tool is not None:
            with suppress(OSError, TimeoutExpired, RuntimeFailure):
                answer = run([tool, "get_throttled"], timeout_seconds=5)
                text = answer.stdout.strip().removeprefix("throttled=") if answer.code == 0 else None
        if text is None:
            return None
        flags = int(text, 16)
        now = [name for bit, name in THROTTLING.items() if flags >> bit & 1]
        before = [f"{name} since boot" for bit, name in THROTTLING.items() if flags >> (bit + SINCE_BOOT) & 1]
        return (*now, *before)

    def _status_bytes(self, name: str) -> int | None:
        match = re.search(rf"^{name}:\s*(\d+) kB", _text(self._proc / "self" / "status") or "", re.MULTILINE)
        return int(match[1]) * 1024 if match else None


def usable_cores() -> int:
    """Cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _text(path: Path) -> str | None:
    """Text of a small file, or None if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _numbers(paths: Iterator[Path] | list[Path]) -> list[int]:
    texts = [_text(path) for path in paths]
    return [int(text) for text in texts if text is not None and re.fullmatch(r"-?\d+", text)]


def versions(*names: str) -> dict[str, str]:
    """Versions of the installed ones of these packages, in this order."""
    installed = {}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed
