"""Content that once escaped a reader, found by ``make fuzz``: each is now returned or refused.

Findings that are not mended are listed in open.txt and must still escape, so that the list stays true.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tinyscene.runtime.bounded_files import read_bounded

from .findings import LARGEST_GROWTH_BYTES, Finding, escape_of, reduced
from .memory import growth_bytes
from .mutate import mutate_json, mutate_npy, mutate_zip
from .page_files import NODE
from .readers import reader_named
from .replay import escape, open_signatures, vectors


def _case(path: Path) -> object:
    opened = [pytest.mark.xfail(reason="not mended yet", strict=True)] if path.stem in open_signatures() else []
    needs = [pytest.mark.needs_tool(NODE)] if path.parent.name == "page-wav" else []
    return pytest.param(path, id=f"{path.parent.name}-{path.stem}", marks=[*opened, *needs])


@pytest.mark.parametrize("path", [_case(path) for path in vectors()])
def test_a_former_finding_is_refused_or_read(path: Path) -> None:
    finding = escape(path)
    assert finding is None, finding


def test_the_open_list_names_kept_content_only() -> None:
    assert open_signatures() <= {path.stem for path in vectors()}


def test_mutations_depend_on_the_seed_only() -> None:
    data = b'{"a": [1, 2.5, "x", null, {"b": true}]}'
    mutants = [mutate_json(data, random.Random(seed)) for seed in range(200)]
    assert mutants == [mutate_json(data, random.Random(seed)) for seed in range(200)]
    assert len(set(mutants)) > 100


def test_a_mutated_archive_has_right_checksums() -> None:
    import io
    import zipfile

    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3, np.int8), b=np.zeros((2, 2), np.int32))
    for seed in range(50):
        mutant = mutate_zip(buffer.getvalue(), random.Random(seed), mutate_npy)
        with zipfile.ZipFile(io.BytesIO(mutant)) as archive:
            assert archive.testzip() is None


def test_reduction_keeps_the_failure() -> None:
    small = reduced(b'{"keep": [1, 2, {"bad": null}], "other": "x"}', lambda data: b'"bad": null' in data, 5.0)
    assert b'"bad": null' in small
    assert b"other" not in small


def test_memory_that_runs_out_before_a_refusal_is_a_finding() -> None:
    from tinyscene.runtime.errors import RuntimeFailure

    refusal = RuntimeFailure("x", "unreadable")
    assert escape_of(refusal) is None
    refusal.__cause__ = MemoryError("2 GiB")
    finding = escape_of(refusal)
    assert isinstance(finding, Finding)
    assert finding.kind == "memory"


_KEPT: list[bytearray] = []


def _once(size: int = 300 * 2**20) -> None:
    if not _KEPT:
        _KEPT.append(bytearray(size))


def _each_time(size: int = 300 * 2**20) -> None:
    bytearray(size)
    raise ValueError


@pytest.mark.parametrize(("call", "is_large"), [(_once, False), (_each_time, True)])
def test_memory_that_is_allocated_once_is_no_growth(call: Callable[[], None], is_large: bool) -> None:
    """An import or an arena counts where it is needed first; the content that is read then is not the cause."""
    growth = growth_bytes(call)
    assert growth is not None
    assert (growth > LARGEST_GROWTH_BYTES) == is_large
    assert not _KEPT  # called in other processes only


def test_a_small_file_takes_no_memory_of_the_largest_one(tmp_path: Path) -> None:
    """Of 2 to 70 bytes, files of arrays and labels once took 256 MiB of address space: the limit was allocated."""
    path = tmp_path / "small"
    path.write_bytes(b"x" * 70)
    growth = growth_bytes(lambda: read_bounded(path, 2**28))
    assert growth is not None
    assert growth < 2**20
    assert read_bounded(path, 70) == b"x" * 70


def test_a_call_that_ends_its_process_has_no_measurement() -> None:
    assert growth_bytes(lambda: os.kill(os.getpid(), signal.SIGKILL)) is None


@pytest.mark.parametrize("name", ["manifest", "graph", "npz", "golden", "front-end", "inputs", "labels", "names"])
def test_a_reader_begins_with_content_that_it_accepts(name: str) -> None:
    """The reader of graphs did not start: one of its random networks was beyond the bounds."""
    reader = reader_named(name)
    seeds = list(reader.seeds())
    assert seeds
    reader.read(seeds[0])
