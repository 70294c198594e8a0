"""Watched folders: each recording once and whole, whatever writes it, and whatever else is in the folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
import soundfile

from tests.runtime.listening import LABELS, RATE, noise
from tests.runtime.wav_files import wav_bytes
from tinyscene import command_line
from tinyscene.runtime import folder_events as folder_events_module
from tinyscene.runtime import watched_folder
from tinyscene.runtime.classify import SceneClassifier
from tinyscene.runtime.folder_events import FolderEvent
from tinyscene.runtime.watched_folder import _WatchedFolder, arriving_files

POLL_S = 0.05
LONGER_S = 5 * POLL_S
PCM = (noise(1, 2 * RATE) * 20_000).astype(np.int16)
WHOLE = wav_bytes(PCM)


def _old(path, age_s=3600.0):
    """Make a file look as if it had been written before."""
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def _write(path, data=WHOLE):
    path.write_bytes(data)
    return path


def _watch(folder, expected, *actions):
    """Names in the order in which they are returned, until ``expected`` and a while longer.

    ``actions``: pairs of seconds from the start and a function, called in turn.
    """

    def act():
        for at, action in actions:
            time.sleep(max(0.0, begin + at - time.monotonic()))
            action()

    begin, names = time.monotonic(), []
    thread, watched = threading.Thread(target=act), _WatchedFolder(folder, POLL_S)
    thread.start()
    end = begin + 20
    while time.monotonic() < end:
        names += [path.name for path in watched.whole()]
        if len(names) >= expected and not thread.is_alive():
            end = min(end, time.monotonic() + LONGER_S)
        watched.wait(POLL_S / 4)
    watched.close()
    thread.join()
    return names


@pytest.fixture(params=["events", "leases", "time alone"])
def knowledge(request, monkeypatch):
    """What the system reports: events; only whether a file is open; or nothing."""
    if request.param != "events":
        monkeypatch.setattr(watched_folder, "folder_events", lambda _: None)
    if request.param == "time alone":
        monkeypatch.setattr(watched_folder, "_is_closed", lambda _: None)
        monkeypatch.setattr(watched_folder, "UNSURE_S", 0.3)
    elif not hasattr(os, "O_DIRECT"):
        pytest.skip("needs Linux")
    return request.param


def _slowly(path, header=0xFFFFFFFF, pause_s=0.2):
    """A recorder: a header without a size, two parts with a pause, and the size at the end."""
    with open(path, "wb", buffering=0) as file:
        file.write(wav_bytes(PCM, declared=header)[:44] + WHOLE[44:50_000])
        time.sleep(pause_s)
        file.write(WHOLE[50_000:])
        time.sleep(pause_s)
        file.seek(0)
        file.write(WHOLE[:44])


@pytest.mark.parametrize("header", [0, 0xFFFFFFFF])
def test_a_recorder_with_pauses_is_answered_once_and_whole(tmp_path, knowledge, header):
    assert _watch(tmp_path, 1, (0.1, lambda: _slowly(tmp_path / "slow.wav", header))) == ["slow.wav"]
    assert len(soundfile.read(tmp_path / "slow.wav")[0]) == len(PCM)


def test_a_recorder_that_began_before_the_watch_is_answered_once_and_whole(tmp_path, knowledge):
    thread = threading.Thread(target=_slowly, args=(tmp_path / "slow.wav",))
    thread.start()
    time.sleep(0.1)
    assert _watch(tmp_path, 1, (0.0, thread.join)) == ["slow.wav"]


def test_a_recording_without_a_size_is_answered_once_its_writer_is_gone(tmp_path, knowledge):
    _old(_write(tmp_path / "a.wav", wav_bytes(PCM, declared=0)))
    assert _watch(tmp_path, 1) == ["a.wav"]


def test_a_file_that_is_written_again_is_another_recording(tmp_path, knowledge):
    path = _old(_write(tmp_path / "latest.wav"))
    again = wav_bytes(PCM[::-1].copy())
    assert _watch(tmp_path, 2, (0.2, lambda: path.write_bytes(again))) == ["latest.wav"] * 2


def test_a_file_that_is_renamed_touched_or_read_is_not(tmp_path):
    path = _old(_write(tmp_path / "a.wav"))

    def change():
        path.read_bytes()
        path.touch()
        path.chmod(0o600)
        time.sleep(0.15)
        path.rename(tmp_path / "b.wav")

    assert _watch(tmp_path, 1, (0.2, change)) == ["a.wav"]


def test_a_name_that_returns_is_another_recording(tmp_path):
    path = _old(_write(tmp_path / "a.wav"))
    assert _watch(tmp_path, 2, (0.2, path.unlink), (0.3, lambda: _write(path))) == ["a.wav", "a.wav"]


def test_files_that_are_moved_or_linked_here_are_whole(tmp_path):
    elsewhere = _old(_write(tmp_path / "a.part"))
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    actions = [
        (0.1, lambda: os.link(elsewhere, inbox / "linked.wav")),
        (0.1, lambda: (inbox / "symbolic.wav").symlink_to(inbox / "linked.wav")),
        (0.2, lambda: elsewhere.rename(inbox / "moved.wav")),
    ]
    assert sorted(_watch(inbox, 3, *actions)) == ["linked.wav", "moved.wav", "symbolic.wav"]


def test_entries_that_are_no_recordings_are_passed_over(tmp_path, knowledge):
    os.mkfifo(tmp_path / "fifo.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "gone.wav").symlink_to("nowhere.wav")
    (tmp_path / "empty.wav").touch()
    _old(_write(tmp_path / "._hidden.wav"))
    _old(_write(tmp_path / "notes.txt"))
    _old(_write(tmp_path / os.fsdecode(b"caf\xe9.wav")))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.wav"))
        assert _watch(tmp_path, 1) == [os.fsdecode(b"caf\xe9.wav")]


def test_a_folder_that_is_replaced_is_followed(tmp_path, knowledge):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    first = _old(_write(inbox / "a.wav"))

    def replace():
        first.unlink()
        inbox.rmdir()
        time.sleep(0.15)
        inbox.mkdir()
        _old(_write(inbox / "b.wav"))

    assert _watch(inbox, 2, (0.2, replace)) == ["a.wav", "b.wav"]


def test_a_folder_that_is_empty_for_a_moment_is_not_answered_again(tmp_path):
    """As when a disk is unmounted: the folder below it is empty, and the same recordings return."""
    inbox, away = tmp_path / "inbox", tmp_path / "away"
    inbox.mkdir()
    _old(_write(inbox / "a.wav"))

    def remount():
        inbox.rename(away)
        inbox.mkdir()
        time.sleep(0.15)
        inbox.rmdir()
        away.rename(inbox)

    assert _watch(inbox, 1, (0.2, remount)) == ["a.wav"]


def test_lost_events_are_followed_by_a_scan(tmp_path, monkeypatch):
    """An overflow of the queue: the events of one recording are replaced by it."""
    overflow = FolderEvent("", folder_events_module._OVERFLOW)
    real = folder_events_module.FolderEvents.wait
    monkeypatch.setattr(
        folder_events_module.FolderEvents, "wait", lambda self, s: [overflow for _ in list(real(self, s))][:1]
    )
    assert _watch(tmp_path, 1, (0.1, lambda: _write(tmp_path / "a.wav"))) == ["a.wav"]


def test_no_watch_left_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_events_module, "_WATCHED", 0)  # the system refuses a watch without an event
    _old(_write(tmp_path / "a.wav"))
    assert folder_events_module.folder_events(tmp_path) is None
    assert _watch(tmp_path, 2, (0.1, lambda: _write(tmp_path / "b.wav"))) == ["a.wav", "b.wav"]


def test_a_lease_ends_at_once_and_a_writer_is_seen(tmp_path):
    path = _write(tmp_path / "a.wav")
    descriptor = os.open(path, os.O_RDONLY)
    with open(path, "r+b"):
        assert watched_folder._is_closed(descriptor) is False
    for _ in range(3):
        assert watched_folder._is_closed(descriptor) is True
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # would fail while a lease is held
    os.close(descriptor)


@pytest.mark.parametrize("knowledge", ["events", "leases"], indirect=True)
def test_a_writer_that_ends_while_its_file_is_examined_is_answered_once(tmp_path, knowledge, monkeypatch):
    """Between the look at size and time and the one at the writer: the whole file was answered with the old state."""
    path = _write(tmp_path / "a.wav", wav_bytes(PCM, declared=0)[: len(WHOLE) // 2])
    os.utime(path, (time.time() - 60,) * 2)
    writer, real = open(path, "r+b", buffering=0), watched_folder._is_closed  # noqa: SIM115

    def end_first(descriptor):
        if not writer.closed:
            writer.write(WHOLE)
            writer.close()
        return real(descriptor)

    monkeypatch.setattr(watched_folder, "_is_closed", end_first)
    assert _watch(tmp_path, 1) == ["a.wav"]


def test_state_of_5_000_recordings_is_small_and_goes_with_them(tmp_path, monkeypatch):
    """The scans of a folder of 5,000 names, all answered, without as many files."""
    names = [f"recording-{number:05d}.wav" for number in range(5_000)]
    monkeypatch.setattr(watched_folder, "_state", lambda path: (64_044, 10**18 + hash(path.name) % 10**9))
    monkeypatch.setattr(watched_folder, "_writer_and_header", lambda _: (True, True))
    listed = names
    monkeypatch.setattr(watched_folder.os, "listdir", lambda _: list(listed))
    folder = _WatchedFolder(tmp_path, POLL_S)
    assert sum(1 for _ in folder.whole()) == 5_000
    tracemalloc.start()
    kept = tracemalloc.get_traced_memory()[0]
    for _ in range(3):
        folder._scan_at_s = 0.0
        assert list(folder.whole()) == []
    growth = tracemalloc.get_traced_memory()[0] - kept
    tracemalloc.stop()
    assert growth < 100_000
    listed, folder._scan_at_s = ["other.wav"], 0.0
    assert [path.name for path in folder.whole()] == ["other.wav"]
    assert len(folder._returned) == 1
    folder.close()


def test_each_file_is_returned_once_and_complete(clip, tmp_path):
    clip("b.wav", noise(3, RATE))
    clip("a.flac", noise(4, RATE), subtype="PCM_16")
    (tmp_path / "notes.txt").write_text("no audio")
    (tmp_path / "empty.wav").touch()
    sizes = {}

    def write_slowly():
        data = (tmp_path / "b.wav").read_bytes()
        with open(tmp_path / "late.wav", "wb", buffering=0) as stream:
            for at in range(0, len(data), len(data) // 8 + 1):
                stream.write(data[at : at + len(data) // 8 + 1])
                time.sleep(0.05)
        sizes["late"] = len(data)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    names = []
    for path in arriving_files(tmp_path, seconds=1.5, poll_s=0.12):
        names.append(path.name)
        if path.name == "late.wav":
            assert path.stat().st_size == sizes["late"]
    writer.join()
    assert sorted(names) == ["a.flac", "b.wav", "late.wav"]
    assert names[-1] == "late.wav"


def test_run_watches_a_folder(bundle, clip, tmp_path, capsys):
    path = clip("good.wav", noise(7, 2 * RATE))
    assert command_line.main(["run", str(bundle.path), "--watch", str(tmp_path), "--seconds", "0.6", "--quiet"]) == 0
    name, label, probability = capsys.readouterr().out.strip().split("\t")
    whole = SceneClassifier.open(bundle).classify_file(path)
    assert name == str(path)
    assert label in LABELS
    assert 0 < float(probability) <= 1
    assert len(list(whole)) == 2
    (tmp_path / "bad.wav").write_text("no audio")
    words = ["run", str(bundle.path), "--watch", str(tmp_path), "--seconds", "0.6", "--json"]
    assert command_line.main(words) == 2
    printed = capsys.readouterr()
    records = [json.loads(line) for line in printed.out.splitlines()]
    assert {record["path"]: "error" in record for record in records} == {
        str(path): False,
        str(tmp_path / "bad.wav"): True,
    }
    assert printed.err.startswith(f"error: {tmp_path / 'bad.wav'}")


def test_a_missing_folder_is_refused(bundle, clip, tmp_path, capsys):
    for place in (tmp_path / "nowhere", clip("a.wav", noise(8, RATE))):
        assert command_line.main(["run", str(bundle.path), "--watch", str(place)]) == 2
        assert "not a folder" in capsys.readouterr().err


def test_a_watch_outlives_every_bad_recording(bundle, tmp_path, capfd):
    """Damaged, unreadable and vanishing files are one error each, and the next recording is answered."""
    _old(_write(tmp_path / "a_text.wav", b"no audio"))
    _old(_write(tmp_path / "b_cut.wav", WHOLE[:50_000]))
    _old(_write(tmp_path / "c_rate.wav", wav_bytes(PCM, 1)))
    _old(_write(tmp_path / "d\tname.wav"))
    words = ["run", str(bundle.path), "--watch", str(tmp_path), "--seconds", "0.5", "--quiet"]
    assert command_line.main(words) == 2
    printed = capfd.readouterr()
    (line,) = printed.out.splitlines()
    assert line.split("\t")[0] == f"{tmp_path}/d\\x09name.wav"
    assert [error.split(": ")[2].split(";")[0] for error in printed.err.splitlines()] == [
        "not a readable audio file",
        "truncated audio file",
        "invalid value",
    ]


def test_the_benchmark_answers_each_recording_once(repository, bundle):
    words = [
        str(repository / "benchmarks/runtime_watch.py"),
        str(bundle.path),
        "--recordings",
        "30",
        "--per-second",
        "15",
    ]
    printed = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert "0 answered more often, 0 never, 0 not whole\nerrors: 0 []" in printed.stdout, printed.stderr
