"""Knowledge distillation from logits: the loss, the average of teachers, and the cache of their logits on disk.

A cache is valid for exactly the teacher weights, front end, clips and views it was computed from; any other is refused.
Source: Hinton et al., "Distilling the knowledge in a neural network" (2015); weights as in the 2023 CP-Mobile code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from tinyscene.runtime.arrays import F32, F64
from tinyscene.runtime.files import atomic_file
from tinyscene.runtime.spec import FrontendSpec
from tinyscene.runtime.system_errors import reason

from ..errors import TrainingError
from ..recipe import Distillation
from ..transforms.views import Views


@dataclass(frozen=True)
class SoftTargets:
    """Teacher logits: row ``i`` of ``logits`` belongs to the clip ``names[i]``.

    float32 (n, classes) for unaugmented clips, or (n, views, classes) for each of ``views``.
    """

    names: tuple[str, ...]
    logits: F32
    views: Views | None = None

    def digest(self) -> str:
        """SHA-256 of the logits and their views."""
        views = "" if self.views is None else self.views.digest(self.names)
        return hashlib.sha256(views.encode() + self.logits.tobytes()).hexdigest()

    def rows_for(self, names: Sequence[str]) -> F32:
        """Logits in the order of ``names``; raises TrainingError for a clip without logits."""
        row = {name: i for i, name in enumerate(self.names)}
        missing = next((name for name in names if name not in row), None)
        if missing is not None:
            raise TrainingError("soft targets", f"no teacher logits for {missing}", next_step="run the teachers again")
        return self.logits[[row[name] for name in names]]


def distillation_loss(student: Tensor, teacher: Tensor, targets: Tensor, settings: Distillation) -> Tensor:
    """Loss of each clip, (batch,), from logits (batch, classes) of student and teacher and labels (batch,)."""
    t = settings.temperature
    divergence = F.kl_div(
        F.log_softmax(student / t, dim=1), F.log_softmax(teacher / t, dim=1), reduction="none", log_target=True
    ).sum(dim=1)
    if settings.average == "batch_and_classes":
        divergence = divergence / student.shape[1]
    hard = F.cross_entropy(student, targets, reduction="none")
    return settings.hard_weight * hard + (1 - settings.hard_weight) * t * t * divergence


def average_logits(members: Sequence[F32]) -> F32:
    """Mean of the logits (n, classes) of several teachers; raises TrainingError for none or differing shapes."""
    if not members or len({m.shape for m in members}) != 1:
        raise TrainingError("teachers", "logits cannot be averaged", got=[m.shape for m in members])
    mean: F64 = np.mean(np.stack(members), axis=0, dtype=np.float64)
    return mean.astype(np.float32)


def teacher_digest(model: nn.Module, frontend: FrontendSpec) -> str:
    """SHA-256 over the front end and every tensor of the teacher in the order of their names."""
    digest = hashlib.sha256(frontend.digest().encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()


def save_logits(path: Path, targets: SoftTargets, teacher: str) -> None:
    """Write an .npz with clip names, logits, the digest of the ``teacher`` and that of the views."""
    views = "" if targets.views is None else targets.views.digest(targets.names)
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, names=np.array(targets.names), logits=targets.logits, teacher=np.array(teacher), views=views)


def load_logits(path: Path, teacher: str, views: Views | None = None) -> SoftTargets:
    """Read a file of :func:`save_logits`; raises TrainingError if it is damaged, of another teacher or other views."""
    step = "remove this file to compute them again"
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            names, logits = archive["names"], archive["logits"]
            stored = {"teacher or front end": str(archive["teacher"]), "views": str(archive["views"])}
    except OSError as error:
        raise TrainingError(str(path), "cannot be read", got=reason(error).what, next_step=step) from error
    except Exception as error:  # NumPy and zipfile raise many types on damaged bytes
        raise TrainingError(str(path), "no readable teacher logits", got=error, next_step=step) from error
    if names.dtype.kind != "U" or logits.dtype != np.float32 or not np.isfinite(logits).all():
        got = f"{names.dtype} and {logits.dtype}"
        raise TrainingError(
            str(path), "no teacher logits", expected="names and finite float32", got=got, next_step=step
        )
    if names.ndim != 1 or logits.ndim != (2 if views is None else 3) or len(names) != len(logits):
        got = f"{names.shape} and {logits.shape}"
        raise TrainingError(str(path), "logits do not fit their clips", got=got, next_step=step)
    clips = tuple(str(n) for n in names)
    expected = {"teacher or front end": teacher, "views": "" if views is None else views.digest(clips)}
    for what in expected:
        if stored[what] != expected[what]:
            raise TrainingError(
                str(path),
                f"logits of another {what}" if what != "views" else "logits of other views",
                expected=expected[what][:12] or "unaugmented clips",
                got=stored[what][:12] or "unaugmented clips",
                next_step=step,
            )
    return SoftTargets(clips, logits, views)
