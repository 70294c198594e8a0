"""Results of an application on recordings, as lines for people or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tinyscene.runtime.arrays import F32

from ..application import Application, RecordingResult
from .output import removed_lines, soft_float_lines, tuning_record


def as_json(application: Application, folder: Path, results: Sequence[RecordingResult]) -> str:
    """JSON of one object: model, target, sizes and every hop of every recording."""
    labels = application.model.labels
    recordings = [
        {
            "path": str(result.path),
            "hops": [
                {
                    "label": labels[hop.label],
                    "expected_label": labels[expected],
                    "smoothed_label": labels[hop.smoothed_label],
                    "scores": dict(zip(labels, hop.scores.tolist(), strict=True)),
                    "smoothed_scores": dict(zip(labels, hop.smoothed.tolist(), strict=True)),
                }
                for hop, expected in zip(result.hops, result.expected_labels, strict=True)
            ],
            "instructions_per_hop": result.instructions_per_hop,
            "stack_bytes": result.stack_bytes,
        }
        for result in results
    ]
    record = {
        "model": application.model.graph.name,
        "digest": application.firmware.emitted.digest,
        "frontend": application.model.frontend.name,
        "target": application.target.name,
        "hop_samples": application.hop_samples,
        "constant_channels_removed": application.model.constant_channels_removed,
        "tuning": tuning_record(application.firmware.emitted.graph, application.tuned),
        "folder": str(folder),
        "arena_bytes": application.arena_bytes,
        "sizes": asdict(application.sizes()),
        "recordings": recordings,
        "match": all(result.matches for result in results) if results else None,
    }
    return json.dumps(record, indent=2)


def report(application: Application, folder: Path, results: Sequence[RecordingResult]) -> Iterator[str]:
    """Yield lines for people: every hop, the figures, and how many labels agree."""
    emulated = application.target.emulator is not None
    for result in results:
        yield from _recording_lines(application, result)
    size = application.sizes()
    if emulated:
        yield f"flash         {size.flash_bytes:>13,} B, of it code {size.code_bytes:,} B"
    yield f"RAM arena     {application.arena_bytes:>13,} B"
    if emulated:
        yield f"RAM static    {size.static_ram_bytes:>13,} B"
    if application.target.soft_float and application.model.frontend.arithmetic == "float":
        yield "front end in float without a float unit: export with --frontend-arithmetic integer, several times faster"
    yield from soft_float_lines(application.target, application.rounding)
    yield from removed_lines(application.model.constant_channels_removed)
    yield f"C sources in {folder}"
    if results:
        equal, n_hops = sum(result.equal_labels for result in results), sum(len(result.hops) for result in results)
        yield f"{equal} of {n_hops} labels agree with tinyscene run: {application.target.title}"


def _recording_lines(application: Application, result: RecordingResult) -> Iterator[str]:
    labels, hop_s = application.model.labels, application.hop_samples / application.model.frontend.sample_rate_hz
    yield str(result.path)
    for index, (hop, expected) in enumerate(zip(result.hops, result.expected, strict=True)):
        label = _score(labels, hop.scores, hop.label)
        smoothed = _score(labels, hop.smoothed, hop.smoothed_label)
        best = int(np.argmax(expected))
        scores = f"{_score(labels, expected, best)}, {_score(labels, expected, hop.label)}"
        mismatch = "" if hop.label == best else f"; MISMATCH, expected {scores}"
        yield f"{index * hop_s:9.2f} s  {label}, smoothed {smoothed}{mismatch}"
    if result.instructions_per_hop is not None:
        yield f"instructions  {result.instructions_per_hop:>13,} per hop; stack {result.stack_bytes:,} B"


def _score(labels: Sequence[str], scores: F32, label: int) -> str:
    return f"{labels[label]} {scores[label]:.3f}"
