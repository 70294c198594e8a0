"""The results of verification as frozen records: one :class:`TargetResult` per target.

``verify --json`` writes them, reports and tables read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tinyscene.firmware_harness.run.engine import Figures
from tinyscene.firmware_harness.run.modelled import BoardCost
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8

from ..targets.table import Means
from .op_comparison import Comparison

Status = Literal["equal", "named exception", "converted", "different", "failed", "refused", "skipped"]


@dataclass(frozen=True)
class Accuracy:
    """Shares of labelled clips in [0, 1].

    ``interval`` holds ``share`` with 95 % (Wilson); ``float_share`` is the float network's on the same clips;
    ``mcnemar_p`` is of McNemar's exact test of the two.
    """

    share: float
    interval: tuple[float, float]
    float_share: float
    mcnemar_p: float
    per_device: dict[str, float]


@dataclass(frozen=True)
class Predictions:
    """A target's scores on the clips of the data, compared with the graph's and the float network's.

    ``scores_different`` counts output codes that are not the graph's, ``float_agreement`` is the share of clips with
    the float network's label. ``accuracy`` is None for clips without labels.
    """

    clips: int
    scores_different: int
    float_agreement: float
    accuracy: Accuracy | None = None


@dataclass(frozen=True)
class FrontEndComparison:
    """Codes of a target's own front end that are not those of the runtime, by at most ``max_lsb``."""

    codes_compared: int
    codes_different: int
    max_lsb: int

    @staticmethod
    def of(codes: I8, expected: I8) -> FrontEndComparison:
        """Compare two arrays of codes of the same shape."""
        off = np.abs(codes.astype(np.int16) - expected)
        return FrontEndComparison(off.size, int(np.count_nonzero(off)), int(off.max()))


@dataclass(frozen=True)
class TargetResult:
    """The result of one target.

    ``means`` states whether the target executes on this machine's processor, an emulator replaces its own, or the
    network is converted for it. The status ``converted`` means: written and compared, but not run; ``refused``: the
    target cannot run the network, for the reason in ``note``, which says nothing about the network. A member is None
    where nothing was measured: ``comparison`` of every op's output, ``predictions`` on the clips of the data,
    ``front_end`` of a target that has its own, ``cost`` as firmware, ``modelled`` on the board that stands for it.
    """

    target: str
    rounding: Rounding | None
    status: Status
    note: str = ""
    means: Means = "executes"
    seconds: float = 0.0
    comparison: Comparison | None = None
    predictions: Predictions | None = None
    front_end: FrontEndComparison | None = None
    cost: Figures | None = None
    modelled: BoardCost | None = None

    @property
    def passed(self) -> bool:
        return self.status in ("equal", "named exception")

    @property
    def accuracy(self) -> Accuracy | None:
        """None without labelled clips."""
        return self.predictions.accuracy if self.predictions else None

    def remarks(self) -> tuple[str, ...]:
        """Exceptions, the note, and the first difference, as text."""
        exceptions = self.comparison.exceptions if self.comparison else ()
        first = self.comparison.first_difference if self.comparison else None
        return (*exceptions, *filter(None, (self.note, str(first or ""))))


@dataclass(frozen=True)
class Verification:
    """One result per target, in the order they ran; ``float_accuracy`` in [0, 1] on the clips described by ``data``.

    ``notes`` are sentences about the network itself.
    """

    graph: str
    results: tuple[TargetResult, ...]
    data: str = ""
    float_accuracy: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[TargetResult, ...]:
        return tuple(r for r in self.results if r.status in ("different", "failed"))

    @property
    def refused(self) -> tuple[TargetResult, ...]:
        """Targets that cannot run the network."""
        return tuple(r for r in self.results if r.status == "refused")

    @property
    def skipped(self) -> tuple[TargetResult, ...]:
        return tuple(r for r in self.results if r.status == "skipped")

    @property
    def bytes_compared(self) -> int:
        """Over all targets."""
        return sum(r.comparison.bytes_compared for r in self.results if r.comparison)
