"""The report as one record: all that the page and the summary show, and what ``verify --json`` writes.

Page and summary are made of this record alone, so that nothing is shown which the JSON does not hold. Its JSON schema
is ``docs/verify.schema.json``; a document that does not keep to it is refused.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from tinyscene.runtime.cost import Rule, Verdict

from ..errors import ExportError
from ..targets.ethos_u import Estimates
from ..verify.verify import Verification
from .firmware_cost import FirmwareCost

State = Literal["pass", "warn", "skip", "fail"]


@dataclass(frozen=True)
class Line:
    """One sentence of the verdict."""

    state: State
    text: str


@dataclass(frozen=True)
class AccuracyRow:
    """How one model answers labelled clips: ``float``, ``int8``, ``no teacher``, a teacher.

    Accuracies in [0, 1]; ``interval`` holds with 95 %; ``confusion[i][j]`` counts clips of label i taken for label j;
    ``log_loss`` in nats.
    """

    name: str
    clips: int
    accuracy: float
    interval: tuple[float, float]
    per_device: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    log_loss: float | None = None


@dataclass(frozen=True)
class Quality:
    """What an activation lost to its 8 bits; ``histogram``: the share of its codes, -128 to 127, in equal parts."""

    sqnr_db: float
    saturated_share: float
    histogram: tuple[float, ...]


@dataclass(frozen=True)
class LayerRow:
    """One step of the network; step 0 is the input. ``quality`` where the float network shows this activation too."""

    step: int
    name: str
    op: str
    shape: tuple[int, ...]
    parameters: int
    n_bytes: int
    macs: int
    quality: Quality | None


@dataclass(frozen=True)
class CostTotal:
    """What all layers cost by one published rule, and against which limits."""

    source: str
    rule: Rule
    rule_text: str
    parameters: int
    n_bytes: int
    macs: int
    limits: tuple[Verdict, ...]


@dataclass(frozen=True)
class Resident:
    """An activation in the arena, in bytes; it lives from the step that writes it to the last that reads it."""

    name: str
    op: str
    n_bytes: int
    offset: int
    first: int
    last: int


@dataclass(frozen=True)
class Memory:
    """The planned arena. No plan that keeps whole activations needs less than ``floor_bytes``."""

    arena_bytes: int
    floor_bytes: int
    residents: tuple[Resident, ...]
    live_bytes: tuple[int, ...]

    @property
    def peak_step(self) -> int:
        """The first step at which most bytes are alive."""
        return self.live_bytes.index(self.floor_bytes)


@dataclass(frozen=True)
class FrontEnd:
    """How audio becomes the input."""

    name: str
    sha256: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Document:
    """``front_end`` is None and ``labels`` is empty for a file that has none; ``accuracy`` without labelled clips.

    ``quality_data`` says on what the quality of the layers was measured, or why it was not.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # of the records inside as well

    format: Literal[1]
    title: str
    graph: str
    headline: Line
    lines: tuple[Line, ...]
    labels: tuple[str, ...]
    front_end: FrontEnd | None
    verification: Verification
    estimates: Estimates
    accuracy: tuple[AccuracyRow, ...]
    firmware: FirmwareCost
    cost: CostTotal
    layers: tuple[LayerRow, ...]
    quality_data: str
    memory: Memory
    provenance: dict[str, str]

    def to_json(self) -> str:
        """The record as text; keys are the fields' names."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


def from_json(text: str) -> Document:
    """Read what :meth:`Document.to_json` wrote.

    Raises:
        ExportError: it does not keep to the schema; the first wrong field is named.
    """
    from pydantic import ValidationError

    try:
        document: Document = _adapter().validate_json(text)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"])) or "document"
        raise ExportError(where, first["msg"], expected="docs/verify.schema.json") from None
    return document


def schema() -> dict[str, Any]:
    """The JSON schema of the document (draft 2020-12)."""
    found: dict[str, Any] = _adapter().json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Document)


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))
