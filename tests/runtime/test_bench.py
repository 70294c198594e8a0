"""Benchmarks: the record, sensors read from a simulated machine, and verdicts that allow for noise."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from tests.runtime.listening import FRONTEND
from tinyscene import command_line
from tinyscene.runtime.bench import BLOCKS, STAGES, BenchResult, Conditions, Latency, bench, lines
from tinyscene.runtime.bench_compare import compare, read_result
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.host import Host, Sensors


@pytest.fixture
def machine(tmp_path):
    """Writes files of a simulated /proc and /sys and returns the sensors that read them."""

    def build(files):
        for name, text in files.items():
            path = tmp_path / "machine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return Sensors(tmp_path / "machine")

    return build


def test_a_result_has_every_measurement(bundle):
    ticks = []
    result = bench(bundle, "litert", seconds=0.4, progress=lambda: ticks.append(1))
    assert len(ticks) == BLOCKS
    assert set(result.latency) == set(STAGES)
    for latency in result.latency.values():
        assert 0 < latency.min_s <= latency.median_s <= latency.p95_s <= latency.p99_s
        assert len(latency.block_medians_s) == len(latency.block_minima_s) == BLOCKS
        assert latency.min_s == min(latency.block_minima_s)
        assert all(low <= middle for low, middle in zip(latency.block_minima_s, latency.block_medians_s, strict=True))
    medians = {stage: latency.median_s for stage, latency in result.latency.items()}
    assert medians["log_mel"] + medians["network"] == pytest.approx(medians["clip"], rel=0.3)
    assert result.clip_s == FRONTEND.clip_samples / FRONTEND.sample_rate_hz
    assert result.real_time_factor == medians["clip"] / result.clip_s
    assert result.throughput_clips_per_s == pytest.approx(result.clips / result.seconds)
    assert result.seconds == pytest.approx(0.4, rel=0.5)
    assert result.conditions.rss_bytes is not None
    assert 20e6 < result.conditions.rss_bytes <= result.conditions.peak_rss_bytes
    assert result.host.packages["numpy"] == np.__version__
    assert json.loads(json.dumps(result.to_json()))["digest"] == bundle.manifest.digest
    assert os.uname().nodename not in json.dumps(result.to_json())


def test_too_short_a_run_and_unknown_engines_are_refused(bundle):
    with pytest.raises(RuntimeFailure, match="too short to measure"):
        bench(bundle, seconds=0.1)
    with pytest.raises(RuntimeFailure, match="threads: invalid value"):
        bench(bundle, threads=0, seconds=1)


def test_sensors_of_a_raspberry_pi(machine, bundle):
    cpufreq = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_{}"
    sensors = machine(
        {
            "proc/cpuinfo": "processor\t: 0\nCPU part\t: 0xd08\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4",
            "proc/loadavg": "900.25 0.10 0.05 1/123 4567",
            "proc/meminfo": "MemTotal:        3884352 kB",
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/self/status": "VmHWM:\t   60000 kB\nVmRSS:\t   51200 kB",
            cpufreq.format(0, "governor"): "ondemand",
            cpufreq.format(0, "cur_freq"): "600000",
            cpufreq.format(1, "cur_freq"): "1500000",
            "sys/class/thermal/thermal_zone0/temp": "61835",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
            "sys/class/hwmon/hwmon3/name": "ina226",
            "sys/class/hwmon/hwmon3/power1_input": "2500000",
        }
    )
    host, reading = sensors.host(), sensors.read()
    assert (host.cpu, host.board) == ("Raspberry Pi 4 Model B Rev 1.4",) * 2
    assert (host.memory_bytes, host.governor) == (3884352 * 1024, "ondemand")
    assert (reading.rss_bytes, reading.frequency_hz, reading.temperature_c) == (51200 * 1024, 1_500_000_000, 61.835)
    assert reading.throttling == ("under-voltage", "throttled", "under-voltage since boot", "throttled since boot")
    result = bench(bundle, seconds=0.4, sensors=sensors)
    conditions = result.conditions
    assert conditions.energy_source == "ina226"
    assert conditions.joules_per_clip == pytest.approx(2.5 * result.seconds / result.clips, rel=0.35)
    printed = "\n".join(lines(result))
    assert "1,500 to 1,500 MHz" in printed
    assert "61.8 to 61.8 °C" in printed
    assert "under-voltage, throttled" in printed
    assert "mJ per clip" in printed
    assert "busy        load 900.2 on " in printed


def test_a_machine_without_sensors(machine, bundle):
    sensors = machine({"proc/version": "x"})
    assert sensors.energy_meter() is None
    result = bench(bundle, seconds=0.2, sensors=sensors)
    conditions = result.conditions
    assert (conditions.rss_bytes, conditions.frequency_hz, conditions.temperature_c, conditions.throttling) == (
        None,
    ) * 4
    assert len(list(lines(result))) == 6


def test_rapl_counts_packages_once_and_wraps(machine, tmp_path):
    zone = "sys/class/powercap/intel-rapl:{}"
    files = {
        f"{zone.format('0')}/energy_uj": "999000",
        f"{zone.format('0')}/max_energy_range_uj": "999999",
        f"{zone.format('0:0')}/energy_uj": "5",
        f"{zone.format('0:0')}/max_energy_range_uj": "999999",
        f"{zone.format('1')}/energy_uj": "100",
        f"{zone.format('1')}/max_energy_range_uj": "999999",
    }
    meter = machine(files).energy_meter()
    assert meter.source == "RAPL"
    assert meter.joules() == 0.0
    machine({f"{zone.format('0')}/energy_uj": "1000", f"{zone.format('1')}/energy_uj": "600"})
    assert meter.joules() == pytest.approx(2.5e-3)


HOST = Host("one", None, "x86_64", 2, 2, None, None, "Linux", "3.11", {"numpy": "2"})
CONDITIONS = Conditions(None, None, None, None, None, None, None, None, 0.5)


def _result(median_s, noise=0.0, seed=0, load=1.0, **changes):
    """A result whose blocks vary by ``noise``; other load on the machine raises medians and not minima."""
    rng = np.random.default_rng(seed)
    medians, minima = (
        load * median_s * np.exp(rng.normal(0.0, noise, 20)),
        median_s * np.exp(rng.normal(0, noise, 20)),
    )
    latency = Latency(median_s, median_s, median_s, median_s, tuple((load * medians).tolist()), tuple(0.9 * minima))
    result = BenchResult(
        model="b",
        digest="0" * 64,
        engine="litert",
        threads=1,
        clip_s=1.0,
        clips=100,
        seconds=1.0,
        open_s=0.1,
        throughput_clips_per_s=100.0,
        real_time_factor=0.01,
        latency=dict.fromkeys(STAGES, latency),
        conditions=CONDITIONS,
        host=HOST,
        notes=(),
    )
    return replace(result, **changes)


@pytest.mark.parametrize(
    ("ratio", "noise", "verdict"),
    [
        (1.0, 0.005, "same"),
        (1.10, 0.02, "slower"),
        (0.90, 0.02, "faster"),
        (1.0, 0.2, "undecided"),
        (1.10, 0.4, "undecided"),
        (1.02, 0.001, "same"),
    ],
)
def test_verdicts_allow_for_noise(ratio, noise, verdict):
    verdicts = [compare(_result(1e-3, noise, 2 * n), _result(ratio * 1e-3, noise, 2 * n + 1)).verdict for n in range(8)]
    assert verdicts.count(verdict) >= 7


@pytest.mark.parametrize("load", [0.7, 1.5])
def test_other_load_is_not_a_change(load):
    assert compare(_result(1e-3, 0.01, 1), _result(1e-3, 0.01, 2, load)).verdict == "undecided"
    assert compare(_result(1e-3, 0.01, 1), _result(1.3e-3, 0.01, 2, max(load, 1.0))).verdict == "slower"


def test_equal_runs_rarely_differ():
    """200 pairs from one distribution, with a tolerance of 0."""
    wrong = sum(
        compare(_result(1e-3, 0.1, 2 * n), _result(1e-3, 0.1, 2 * n + 1), 0.0).verdict in ("faster", "slower")
        for n in range(200)
    )
    print(f"{wrong} of 200 called different")
    assert wrong <= 10


def test_a_comparison_is_symmetric_and_repeatable():
    a, b = _result(1e-3, 0.05, 1), _result(1.2e-3, 0.05, 2)
    assert compare(a, b) == compare(a, b)
    assert (compare(a, b).verdict, compare(b, a).verdict) == ("slower", "faster")


def test_different_settings_are_listed():
    b = _result(
        1e-3,
        engine="ort",
        host=replace(HOST, cpu="other"),
        conditions=replace(CONDITIONS, throttling=("under-voltage",), load=6.44),
    )
    assert compare(_result(1e-3), b).differences == (
        "engine: litert and ort",
        "cpu: one and other",
        "B was throttled: under-voltage",
        "B ran on a busy machine: load 6.4, cores 2",
    )


def test_a_result_is_read_back_equal(bundle, tmp_path):
    result = bench(bundle, seconds=0.2)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(result.to_json()))
    assert read_result(path) == result


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda r: r.pop("host"), "a.json, host: missing field"),
        (lambda r: r["latency"]["clip"].update(p95_s="fast"), "a.json, latency.clip.p95_s: wrong type"),
        (lambda r: r["latency"].pop("clip"), "a.json, latency: missing stage; expected clip"),
        (lambda r: r["latency"]["clip"].update(block_medians_s=[]), "block_medians_s: wrong number of entries"),
        (lambda r: r["latency"]["clip"].update(block_minima_s=[0]), r"block_minima_s\[0\]: out of range"),
        (lambda r: r["latency"]["clip"].update(min_s=10**400), "latency.clip.min_s: out of range"),
        (lambda r: r.update(threads=True), "a.json, threads: wrong type"),
        (lambda r: r.update(format=True), "not a benchmark record of this version"),
    ],
)
def test_a_changed_record_is_refused_with_its_field(tmp_path, change, complaint):
    record = json.loads(json.dumps(_result(1e-3).to_json()))
    change(record)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(record))
    with pytest.raises(RuntimeFailure, match=complaint):
        read_result(path)


def test_the_commands(bundle, tmp_path, capsys):
    fast, slow = tmp_path / "litert.json", tmp_path / "numpy.json"
    assert command_line.main(["bench", str(bundle.path), "--seconds", "0.6", "--out", str(fast)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].split() == ["ms", "per", "clip", "min", "median", "p95", "p99"]
    words = ["bench", str(bundle.path), "--engine", "numpy-single", "--seconds", "0.6", "--json"]
    assert command_line.main(words) == 0
    slow.write_text(capsys.readouterr().out)
    assert json.loads(slow.read_text())["engine"] == "numpy-single"
    assert command_line.main(["bench", "compare", str(slow), str(fast)]) == 0
    assert "B is faster than A" in capsys.readouterr().out
    assert command_line.main(["bench", "compare", str(fast), str(slow), "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["verdict"] == "slower"
    assert "engine: litert and numpy-single" in record["differences"]


OTHER_FILES = [
    "",
    "[]",
    '{"kind": "other"}',
    '{"kind": "tinyscene bench", "format": 99}',
    "[" * 100_000,
    "NaN",
    "9" * 9000,
]


@pytest.mark.parametrize("text", OTHER_FILES, ids=lambda text: text[:20])
def test_other_files_are_refused(text, tmp_path, capsys):
    path = tmp_path / "a.json"
    path.write_text(text)
    for words in ([str(path), str(path)], [str(tmp_path / "gone.json"), str(path)]):
        assert command_line.main(["bench", "compare", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert "next: " in line
