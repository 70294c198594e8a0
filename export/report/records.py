"""The report as one record: what ``verify --json`` writes, and what the page and the summary show.

Page and summary are rendered from this record alone, so the JSON has everything that they show. Its JSON schema is
``docs/verify.schema.json``; a document that does not match it is refused.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tinyscene.runtime.cost import Rule, Verdict
from tinyscene.runtime.spec import FrontendSpec

from ..errors import ExportError
from ..targets.ethos_u import Estimates
from ..verify.results import Verification
from .firmware_cost import FirmwareCost

if TYPE_CHECKING:
    from pydantic import TypeAdapter

State = Literal["pass", "warn", "skip", "fail"]


@dataclass(frozen=True)
class Line:
    """One sentence of the verdict."""

    state: State
    text: str


@dataclass(frozen=True)
class AccuracyRow:
    """The accuracy of one model on labelled clips: ``float``, ``int8``, ``no teacher``, a teacher.

    Accuracies in [0, 1]; ``interval`` holds with 95 %; ``confusion[i][j]`` counts clips of label i classified as j;
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
    """Quantisation error of one activation; ``histogram``: shares of its codes, -128 to 127, in equal bins."""

    sqnr_db: float
    saturated_share: float
    histogram: tuple[float, ...]


@dataclass(frozen=True)
class LayerRow:
    """One step of the network; the inputs have step 0. ``quality`` where the float network has this activation too."""

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
    """The cost of all layers by one published rule, and the limits it was checked against."""

    source: str
    rule: Rule
    rule_text: str
    parameters: int
    n_bytes: int
    macs: int
    limits: tuple[Verdict, ...]


@dataclass(frozen=True)
class Resident:
    """An activation in the arena, in bytes; ``first`` is the step that writes it, ``last`` the last that reads it."""

    name: str
    op: str
    n_bytes: int
    offset: int
    first: int
    last: int


@dataclass(frozen=True)
class Memory:
    """The planned arena. A plan with whole activations needs at least ``floor_bytes``."""

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
    """The computation from audio to network input."""

    name: str
    sha256: str
    settings: FrontendSpec


@dataclass(frozen=True)
class Document:
    """The whole report.

    ``front_end`` is None and ``labels`` is empty for a file without them, ``accuracy`` is empty without labelled clips.
    ``quality_data`` names the data on which the quality of the layers was measured, or the reason why it was not.
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
    """Read the output of :meth:`Document.to_json`.

    Raises:
        ExportError: it does not match the schema; the message names the first wrong field.
    """
    from pydantic import ValidationError

    try:
        return _adapter().validate_json(text)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"])) or "document"
        raise ExportError(where, first["msg"], expected="docs/verify.schema.json") from None


def schema() -> dict[str, object]:
    """The JSON schema of the document (draft 2020-12)."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_adapter().json_schema(mode="serialization")}


def _adapter() -> TypeAdapter[Document]:
    from pydantic import TypeAdapter

    return TypeAdapter(Document)


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))
