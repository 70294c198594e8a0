"""Feature distillation: train a stage of the student towards a stage of one frozen teacher (DCASE 2025, scheme P1).

``projection``: a 1x1 convolution, trained with the student and discarded afterwards, maps the student's stage to the
teacher's, which is normalised per channel; both are pooled to the same grid. The loss is the mean square error, so that
a constant prediction costs 1. ``gram``: compares the similarities between the clips of a batch instead (Tung and Mori,
"Similarity-preserving knowledge distillation", 2019), without a projection.

The teacher receives the same augmented waveform through its own front end, stays in evaluation mode and gets no
gradient. Refuses unknown stages, listing the known ones, and stages whose output is not an image.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyscene.runtime.spec import FrontendSpec

from ..errors import TrainingError
from ..models.cp_mobile import CPMobile
from ..models.cp_resnet import CPResNet
from ..models.network import Network
from ..recipe import FeatureDistillation
from ..transforms.log_mel import TorchLogMel
from .soft_targets import teacher_digest

EPS = 1e-5
LAST_STAGES: dict[type[nn.Module], str] = {CPMobile: "stages.s3", CPResNet: "stage3"}


@dataclass(frozen=True)
class FeatureLossIdentity:
    """The settings of a feature loss and the digest of its teacher, for the identity of a run."""

    kind: Literal["projection", "gram"]
    teacher: int
    student_stage: str | None
    teacher_stage: str | None
    weight: float
    digest: str


def last_stage(model: nn.Module) -> str:
    """Name of the last stage of a CP-Mobile or CP-ResNet; raises TrainingError for other networks."""
    name = LAST_STAGES.get(type(model))
    if name is None:
        raise TrainingError(type(model).__name__, "has no known stages", next_step="name one in the recipe")
    return name


class StageTap:
    """Keeps the output of the submodule ``stage`` in the last forward pass, (batch, channels, freq, time)."""

    def __init__(self, model: nn.Module, stage: str) -> None:
        modules = dict(model.named_modules())
        if stage not in modules or not stage:
            known = [name for name in modules if name and name.count(".") <= 1]
            raise TrainingError(
                f"stage '{stage}'", "unknown", expected=" | ".join(known), next_step="name one of these"
            )
        self.stage = stage
        self._output: Tensor | None = None
        self._handle = modules[stage].register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._output = output

    def take(self) -> Tensor:
        """Return the last output and clear it; raises TrainingError if there is none or it is not an image."""
        output, self._output = self._output, None
        if output is None or output.ndim != 4:
            raise TrainingError(
                f"stage '{self.stage}'",
                "its output is not an image",
                expected="(batch, channels, freq, time)",
                got="no output" if output is None else tuple(output.shape),
                next_step="name another stage in the recipe",
            )
        return output

    def remove(self) -> None:
        self._handle.remove()


class FrozenTeacher(nn.Module):
    """A copy of a teacher with its front end: waveforms float32 (batch, samples) to the output of one stage."""

    def __init__(self, network: Network, stage: str) -> None:
        super().__init__()
        self.model = copy.deepcopy(network.model).requires_grad_(False).eval()
        self.log_mel = TorchLogMel(network.frontend)
        self._tap = StageTap(self.model, stage)

    def train(self, mode: bool = True) -> FrozenTeacher:
        """Stay in evaluation mode, so that BatchNorm statistics do not change."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, samples: Tensor) -> Tensor:
        with torch.autocast(samples.device.type, enabled=False):
            log_mel = self.log_mel(samples)
        self.model(log_mel)
        return self._tap.take()


class FeatureLoss(nn.Module):
    """The term that feature distillation adds: call it with the waveforms after each forward pass of the student.

    ``remove`` detaches it from the student after training.
    """

    def __init__(self, student: Network, teacher: Network, settings: FeatureDistillation) -> None:
        super().__init__()
        self.settings = settings
        self.teacher = FrozenTeacher(teacher, settings.teacher_stage or last_stage(teacher.model))
        self._tap = StageTap(student.model, settings.student_stage or last_stage(student.model))
        self.projection: nn.Conv2d | None = None
        if settings.kind == "projection":
            student_channels, teacher_channels = self._channels(student, teacher.frontend)
            self.projection = nn.Conv2d(student_channels, teacher_channels, 1)

    def forward(self, samples: Tensor) -> Tensor:
        student, teacher = self._tap.take(), self.teacher(samples)
        if self.projection is None:
            return gram_loss(student, teacher)
        return projection_loss(self.projection(student), teacher)

    def identity(self) -> FeatureLossIdentity:
        """What the identity of a run includes: the settings and the teacher."""
        digest = teacher_digest(self.teacher.model, self.teacher.log_mel.spec)
        return FeatureLossIdentity(**self.settings.model_dump(mode="json"), digest=digest)

    def remove(self) -> None:
        self._tap.remove()

    def _channels(self, student: Network, teacher_frontend: FrontendSpec) -> tuple[int, int]:
        """Channels of the student's and the teacher's stage, measured with a silent clip."""
        was_training = student.model.training
        with torch.no_grad():
            student.model.eval()(torch.zeros(1, 1, student.frontend.n_mels, student.frontend.n_frames))
            student_channels = self._tap.take().shape[1]
            teacher_channels = self.teacher(torch.zeros(1, teacher_frontend.clip_samples)).shape[1]
        student.model.train(was_training)
        return student_channels, teacher_channels


def projection_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean square error on the coarser of the two grids; teacher channels at mean 0 and variance 1 over the batch."""
    grid = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    target = F.adaptive_avg_pool2d(teacher, grid)
    target = F.batch_norm(target, None, None, training=True, eps=EPS)
    return F.mse_loss(F.adaptive_avg_pool2d(student, grid), target)


def gram_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance between the unit-norm similarity rows of each clip, mean over the batch; between 0 and 4.

    Equals the published loss times the batch size, so that its weight does not depend on the batch size.
    """
    return (_similarities(student) - _similarities(teacher)).square().sum(dim=1).mean()


def _similarities(x: Tensor) -> Tensor:
    flat = x.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)
