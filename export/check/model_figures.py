"""What a model costs and how well it answers: figures, each with a name and what it was taken of.

The size by a rule, the arena of the integer graph, the instructions on a machine, the accuracy on certain clips: the
same name of the same thing can be compared from one version of a model to the next. Everything here works without
PyTorch. What cannot be had is an error that says why; there is no default in its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tinyscene.runtime.cost import Cost, Rule, require_rule

from ..errors import ExportError
from .count import artefact_cost

if TYPE_CHECKING:
    from tinyscene.runtime.bundle import Bundle
    from tinyscene.runtime.graph import Graph

GRAPH = "integer graph"
FIRMWARE = ("flash", "ram", "instructions")
QUALITIES = ("accuracy", "agreement")  # shares of clips in [0, 1], the more the better; all else is better small
UNITS = {
    "size": "B",
    "macs": "MAC",
    "arena": "B",
    "flash": "B",
    "ram": "B",
    "instructions": "",
    "accuracy": "",
    "agreement": "",
}


@dataclass(frozen=True)
class Figure:
    """One of :data:`UNITS` and what it is taken of.

    ``of`` is a counting rule for size and macs, :data:`GRAPH` for the arena that the graph needs op by op, a target of
    ``tinyscene firmware`` for flash, ram (arena, static data and stack) and instructions of one inference, and words
    that name the clips for accuracy and for agreement with the float network.
    """

    name: str
    of: str

    def __str__(self) -> str:
        return f"{self.name} ({self.of})"

    @property
    def heard(self) -> bool:
        """Whether it was measured on clips, and not taken from a manifest."""
        return self.name in QUALITIES and not self.of.startswith("manifest: ")


class Model:
    """An artefact whose figures are asked for; each is measured once.

    Args:
        path: as :func:`tinyscene.export.check.count.artefact_cost` takes it.
        data: folder in TAU22 layout, on whose test part accuracy is measured.
    """

    def __init__(self, path: Path, data: Path | None = None) -> None:
        self.path, self.data = path, data
        self._costs: dict[Rule, Cost] = {}
        self._firmware: dict[str, dict[str, int]] = {}
        self._answers: dict[Figure, float] | None = None

    def figures(self, rule: Rule, machines: Sequence[str]) -> list[Figure]:
        """What can be asked of a model by one rule and on these machines; an arena not all have."""
        firmware = [Figure(name, machine) for machine in machines for name in FIRMWARE]
        return [Figure("size", rule), Figure("macs", rule), Figure("arena", GRAPH), *firmware, *self.answers()]

    def measure(self, figure: Figure) -> float:
        """The value; raises TinysceneError when it cannot be had here, or not of this model."""
        ways: dict[str, Callable[[str], float]] = {
            "size": lambda rule: self.cost(require_rule(rule)).n_bytes,
            "macs": lambda rule: self.cost(require_rule(rule)).macs,
            "arena": self._arena,
            "flash": lambda machine: self._on(machine)["flash"],
            "ram": lambda machine: self._on(machine)["ram"],
            "instructions": lambda machine: self._on(machine)["instructions"],
        }
        return ways[figure.name](figure.of) if figure.name in ways else self._answer(figure)

    def cost(self, rule: Rule) -> Cost:
        """Layer by layer; raises TinysceneError for what cannot be counted."""
        if rule not in self._costs:
            self._costs[rule] = artefact_cost(self.path, rule)
        return self._costs[rule]

    @cached_property
    def _bundle(self) -> Bundle:
        from tinyscene.runtime.bundle import read_bundle

        return read_bundle(self.path)

    @cached_property
    def _graph(self) -> Graph:
        if self.path.is_dir():
            return self._bundle.graph
        if self.path.suffix.lower() != ".tflite":
            raise ExportError(str(self.path), "holds no integer graph", expected="a bundle or an int8 .tflite file")
        from ..formats.tflite_model import open_tflite

        return open_tflite(self.path).graph

    def _arena(self, of: str) -> float:
        from tinyscene.runtime.plan import plan

        if of != GRAPH:
            raise ExportError(f"arena of '{of}'", "unknown", expected=GRAPH)
        return plan(self._graph).arena_bytes

    def _on(self, machine: str) -> dict[str, int]:
        """Emulated with calls chosen for speed, as ``firmware export`` ships them."""
        from tinyscene.firmware_harness.build.targets import TARGETS, target_named
        from tinyscene.firmware_harness.run.engine import FirmwareEngine
        from tinyscene.runtime.terminal import bar

        if machine not in self._firmware:
            if target_named(machine).emulator is None:
                counted = " | ".join(target.name for target in TARGETS.values() if target.emulator)
                raise ExportError(f"target '{machine}'", "nothing is counted there", expected=counted)
            (f,) = (
                FirmwareEngine(self._graph, target, optimise="speed").figures
                for target in bar([target_named(machine)], f"emulating {machine}")
            )
            if f.flash_bytes is None or f.static_ram_bytes is None or f.stack_bytes is None or f.instructions is None:
                raise ExportError(f"target '{machine}'", "did not tell what the image costs", got=f)
            ram = f.arena_bytes + f.static_ram_bytes + f.stack_bytes
            self._firmware[machine] = {"flash": f.flash_bytes, "ram": ram, "instructions": f.instructions}
        return self._firmware[machine]

    def answers(self) -> dict[Figure, float]:
        """How well a bundle answers: as its manifest has it, and measured on the labelled clips.

        Raises TinysceneError for data that cannot be read or do not fit the model.
        """
        if self.data is not None and not self.path.is_dir():
            raise ExportError(str(self.data), "only a bundle says how audio becomes its input", got=str(self.path))
        if self._answers is None:
            self._answers = {**self._claimed(), **self._measured()} if self.path.is_dir() else {}
        return self._answers

    def _answer(self, figure: Figure) -> float:
        if figure not in self.answers():
            there = ", ".join(known.of for known in self.answers() if known.name == figure.name)
            step = "give --data FOLDER" if figure.heard else "give a bundle whose manifest has it"
            got = there or "none of this artefact"
            raise ExportError(figure.name, "not known", expected=figure.of, got=got, next_step=step)
        return self.answers()[figure]

    def _claimed(self) -> dict[Figure, float]:
        """Of the manifest's metrics those that ``demo`` and ``export`` write."""
        manifest = self._bundle.manifest
        accuracy, agreement = manifest.metric("int8", "accuracy"), manifest.metric("top1_agreement_with_float")
        found: dict[Figure, float] = {}
        if accuracy is not None:
            clips = manifest.metric("int8", "clips")
            found[Figure("accuracy", f"manifest: {clips} clips, {manifest.data}")] = accuracy
        if agreement is not None:
            found[Figure("agreement", f"manifest: {manifest.data}")] = float(agreement)
        return found

    def _measured(self) -> dict[Figure, float]:
        """The share of test clips to which ``tinyscene run`` gives the right label first."""
        if self.data is None:
            return {}
        from tinyscene.runtime.classify import SceneClassifier
        from tinyscene.runtime.terminal import bar

        from ..labelled.clips import labelled_clips, labelled_records

        classifier, rate_hz = SceneClassifier.open(self._bundle), self._bundle.frontend.sample_rate_hz
        records = labelled_records(self.data, classifier.labels)
        clips = labelled_clips(self.data, records, classifier.labels, rate_hz)
        right = 0
        for i in bar(range(len(clips)), "classifying"):
            right += classifier.classify(clips.waveforms[i], rate_hz).label == records[i].scene
        listed = hashlib.sha256("\n".join(sorted(record.filename for record in records)).encode()).hexdigest()
        return {Figure("accuracy", f"{len(records)} test clips, list {listed[:12]}"): right / len(records)}


def value_text(name: str, value: float) -> str:
    """A value with its unit."""
    return f"{value:.2%}" if name in QUALITIES else f"{value:,.0f} {UNITS[name]}".rstrip()
