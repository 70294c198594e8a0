"""Feature distillation: a stage of the student learns what a stage of one frozen teacher says (DCASE 2025, scheme P1).

``projection``: the student's stage goes through a 1x1 convolution, trained with it and then thrown away, towards the
teacher's stage, normalised per channel, both pooled to the same grid; the loss is the mean square error, so 1 is what
knowing nothing costs. ``gram``: the similarities of the clips of a batch are compared instead (Tung and Mori,
"Similarity-preserving knowledge distillation", 2019), and nothing is projected.

The teacher hears the same augmented waveform through its own front end, stays in evaluation mode and gets no gradient.
Refuses stages that do not exist, naming those that do, and stages that are no images.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyscene.runtime.spec import FrontendSpec

from ..errors import TrainingError
from ..fit.log_mel import TorchLogMel
from ..models.cp_mobile import CPMobile
from ..models.cp_resnet import CPResNet
from ..recipe import FeatureDistillation
from .soft_targets import teacher_digest

EPS = 1e-5
LAST_STAGES: dict[type[nn.Module], str] = {CPMobile: "stages.s3", CPResNet: "stage3"}


def last_stage(model: nn.Module) -> str:
    """Name of the last stage of a CP-Mobile or CP-ResNet; of others it must be said."""
    name = LAST_STAGES.get(type(model))
    if name is None:
        raise TrainingError(type(model).__name__, "has no stage known to us", next_step="name one in the recipe")
    return name


class StageTap:
    """Keeps what the submodule ``stage`` of ``model`` gave in the last forward pass, (batch, channels, freq, time)."""

    def __init__(self, model: nn.Module, stage: str) -> None:
        modules = dict(model.named_modules())
        if stage not in modules or not stage:
            known = [name for name in modules if name and name.count(".") <= 1]
            raise TrainingError(
                f"stage '{stage}'", "unknown", expected=" | ".join(known), next_step="name one of these"
            )
        self.stage = stage
        self._seen: Tensor | None = None
        self._handle = modules[stage].register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._seen = output

    def take(self) -> Tensor:
        """The last output, handed over once."""
        seen, self._seen = self._seen, None
        if seen is None or seen.ndim != 4:
            got = "nothing" if seen is None else tuple(seen.shape)
            raise TrainingError(f"stage '{self.stage}'", "no image", expected="(batch, channels, freq, time)", got=got)
        return seen

    def remove(self) -> None:
        self._handle.remove()


class FrozenTeacher(nn.Module):
    """A copy of a teacher's network behind its front end: waveforms float32 (batch, samples) to one stage's output."""

    def __init__(self, model: nn.Module, frontend: FrontendSpec, stage: str) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.log_mel = TorchLogMel(frontend)
        self._tap = StageTap(self.model, stage)

    def train(self, mode: bool = True) -> FrozenTeacher:
        """A teacher does not train: its BatchNorm statistics stay what they are."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, samples: Tensor) -> Tensor:
        with torch.autocast(samples.device.type, enabled=False):
            log_mel = self.log_mel(samples)
        self.model(log_mel)
        return self._tap.take()


class FeatureLoss(nn.Module):
    """The term that feature distillation adds: call it with the waveforms after each forward pass of the student.

    ``remove`` takes the listening place out of the student when training is over.
    """

    def __init__(
        self,
        student: nn.Module,
        student_frontend: FrontendSpec,
        teacher: nn.Module,
        teacher_frontend: FrontendSpec,
        settings: FeatureDistillation,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.teacher = FrozenTeacher(teacher, teacher_frontend, settings.teacher_stage or last_stage(teacher))
        self._tap = StageTap(student, settings.student_stage or last_stage(student))
        self.projection: nn.Conv2d | None = None
        if settings.kind == "projection":
            taken, given = self._channels(student, student_frontend, teacher_frontend)
            self.projection = nn.Conv2d(taken, given, 1)

    def forward(self, samples: Tensor) -> Tensor:
        student, teacher = self._tap.take(), self.teacher(samples)
        if self.projection is None:
            return gram_loss(student, teacher)
        return projection_loss(self.projection(student), teacher)

    def record(self) -> dict[str, Any]:
        """What belongs to the identity of a run: the settings and the teacher."""
        digest = teacher_digest(self.teacher.model, self.teacher.log_mel.spec)
        return {**self.settings.model_dump(mode="json"), "digest": digest}

    def remove(self) -> None:
        self._tap.remove()

    def _channels(self, student: nn.Module, frontend: FrontendSpec, teacher_frontend: FrontendSpec) -> tuple[int, int]:
        """Channels of the two stages, seen by sending silence through."""
        was_training = student.training
        with torch.no_grad():
            student.eval()(torch.zeros(1, 1, frontend.n_mels, frontend.n_frames))
            taken = self._tap.take().shape[1]
            given = self.teacher(torch.zeros(1, teacher_frontend.clip_samples)).shape[1]
        student.train(was_training)
        return taken, given


def projection_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean square error on the coarser of the two grids; teacher channels at mean 0 and variance 1 over the batch."""
    grid = tuple(min(s, t) for s, t in zip(student.shape[2:], teacher.shape[2:], strict=True))
    target = F.adaptive_avg_pool2d(teacher, grid)
    target = F.batch_norm(target, None, None, training=True, eps=EPS)
    return F.mse_loss(F.adaptive_avg_pool2d(student, grid), target)


def gram_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of a clip's similarities to all clips, of unit length, mean over the batch; between 0 and 4.

    That is the published loss times the batch size, so that its weight need not follow the batch.
    """
    return (_similarities(student) - _similarities(teacher)).square().sum(dim=1).mean()


def _similarities(x: Tensor) -> Tensor:
    flat = x.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)
