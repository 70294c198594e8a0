"""Recipes: all settings of a training run as typed records, read from YAML.

``load_recipe`` takes the names of the files in ``training/recipes``, every student of
:mod:`tinyscene.training.models.config` (trained by the recipe of its family), and paths of YAML files. Refuses unknown
names, unknown fields and invalid values, naming the field.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from tinyscene.runtime.bounded_files import read_bounded, require_file
from tinyscene.runtime.options import MAX_SEED
from tinyscene.runtime.spec import PRESETS

from .errors import TrainingError
from .models.config import MODELS, ModelConfig

RECIPES = Path(__file__).parent / "recipes"
LARGEST_RECIPE_BYTES = 65_536
TEACHERS = ("cp_resnet", "passt")  # architectures that are trained as teachers only


class _Record(BaseModel):
    """A number is finite, and ``true`` is none; text such as ``1e-3`` is one, as YAML 1.1 reads it as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values_as_numbers(cls, value: object, info: ValidationInfo) -> object:
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and "bool" not in str(annotation):
            raise ValueError("a truth value is not allowed here")
        return value


class Schedule(_Record):
    """Factor on the learning rate during training.

    ``ramp``: exp(-5 (1 - e/warmup)^2), constant to ``constant_epochs``, then linear over ``decay_epochs`` down to
    ``final_factor``, in whole epochs (2023 winner). ``cosine``: linear warm-up, then half a cosine, step by step.
    """

    kind: Literal["ramp", "cosine", "constant"] = "cosine"
    warmup_epochs: float = Field(default=1.0, ge=0)
    constant_epochs: int = Field(default=0, ge=0)
    decay_epochs: int = Field(default=1, ge=1)
    final_factor: float = Field(default=0.005, ge=0, le=1)


class Augment(_Record):
    """Augmentation of training clips; zero switches a step off.

    ``device_irs`` is a folder of WAV files with impulse responses; without it they come from a microphone model.
    ``mixup_p`` is the share of clips that are mixed with another clip.
    """

    roll_samples: int = Field(default=0, ge=0)
    device_ir_p: float = Field(default=0.0, ge=0, le=1)
    device_irs: Path | None = None
    gain_db: float = Field(default=0.0, ge=0)
    mixup_p: float = Field(default=0.0, ge=0, le=1)
    mixup_alpha: float = Field(default=0.3, gt=0)
    f_max_jitter_hz: int = Field(default=0, ge=0)
    mixstyle_p: float = Field(default=0.0, ge=0, le=1)
    mixstyle_alpha: float = Field(default=0.3, gt=0)
    filter_db: float = Field(default=0.0, ge=0)
    freq_mask_bins: int = Field(default=0, ge=0)
    time_mask_frames: int = Field(default=0, ge=0)


class Distillation(_Record):
    """loss = hard_weight * CE + (1 - hard_weight) * T^2 * KL(teacher || student), KL at temperature T.

    ``average`` sets whether KL is averaged over the ``batch`` only, or over ``batch_and_classes`` as in the 2023 code.
    """

    temperature: float = Field(default=2.0, gt=0)
    hard_weight: float = Field(default=0.02, ge=0, le=1)
    average: Literal["batch", "batch_and_classes"] = "batch_and_classes"


class FeatureDistillation(_Record):
    """Adds ``weight`` times the distance between a stage of the student and a stage of a teacher to the loss.

    Stages are names of submodules, by default the last stage of CP-Mobile and CP-ResNet; ``teacher`` is an index into
    the recipe's teachers, from 0.
    """

    kind: Literal["projection", "gram"] = "projection"
    teacher: int = Field(default=0, ge=0)
    student_stage: str | None = None
    teacher_stage: str | None = None
    weight: float = Field(default=1.0, gt=0)


class FitSettings(_Record):
    """Training settings of one network.

    ``keep`` selects the weights: those of the last epoch, of the epoch with the best accuracy on the validation part
    (never the test part), or the mean over the last ``soup_epochs``. ``clip_gradient`` limits the norm of the gradient,
    0 disables it; ``bf16`` is mixed precision with float32 log-mel and weights; ``compile`` uses ``torch.compile``,
    which pays off in long runs.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(default=256, ge=1)
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    clip_gradient: float = Field(default=0.0, ge=0)
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool = False
    schedule: Schedule = Schedule()
    augment: Augment = Augment()
    distillation: Distillation = Distillation()
    keep: Literal["last", "best", "soup"] = "last"
    soup_epochs: int = Field(default=5, ge=2)
    validate_every: int = Field(default=1, ge=1)


# Quantisation-aware training starts from a trained network: few epochs, a small learning rate (the 2023 code: 20
# epochs, 5e-5), no Freq-MixStyle, which would change the activation ranges.
QAT = FitSettings(
    epochs=8,
    batch_size=32,
    learning_rate=3e-4,
    schedule=Schedule(kind="cosine", warmup_epochs=0.5, final_factor=0.01),
    augment=Augment(roll_samples=4000),
    distillation=Distillation(temperature=2.0, hard_weight=0.02, average="batch"),
    validate_every=4,
)


class TrainSettings(FitSettings):
    """A network, its front end, its initial weights, and its training settings.

    ``model`` is a name, or the sizes of a CP-Mobile, ``{base_channels: 24, channels_multiplier: 1.8, ...}`` with the
    fields of :class:`ModelConfig`, or ``package.module:function`` for a network of your own, which has a front end of
    its own. ``pretrained`` is a checkpoint with the initial weights.
    """

    model: str | ModelConfig
    padding: Literal["torch", "same"] = "same"
    frontend: str = "cpm23"
    pretrained: Path | None = None

    @field_validator("model", mode="before")
    @classmethod
    def _known_model(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return _sizes(value)
        if not isinstance(value, str | ModelConfig):
            raise ValueError("expected a name or sizes")
        if isinstance(value, str) and value not in MODELS and ":" not in value:
            raise ValueError(f"unknown model '{value}', known: {' | '.join(MODELS)}")
        return value

    def sizes(self) -> ModelConfig | None:
        """Configuration of the network; None for a user's own network."""
        return MODELS.get(self.model) if isinstance(self.model, str) else self.model

    @property
    def network(self) -> str:
        """Name of the network for messages and folders."""
        return self.model if isinstance(self.model, str) else self.model.name

    @field_validator("frontend")
    @classmethod
    def _known_frontend(cls, value: str) -> str:
        if value not in PRESETS:
            raise ValueError(f"unknown front end '{value}', known: {' | '.join(PRESETS)}")
        return value


def _sizes(fields: dict[str, Any]) -> ModelConfig:
    """Parse the sizes in a recipe; raises ValueError naming the invalid field."""
    elsewhere = sorted({"n_classes", "padding"} & set(fields))
    if elsewhere:
        raise ValueError(f"{elsewhere[0]} is not a size: classes come from the data, padding is a field beside model")
    try:
        return ModelConfig.model_validate({"arch": "cp_mobile", **fields})
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{'.'.join(str(part) for part in first['loc'])}: {message}") from error


class Fusion(_Record):
    """Teachers weighted by learned heads, not averaged: ``listener`` trains z1, the other settings are those of z2.

    ``folds`` copies of every teacher are trained for the heads; ``soft_targets`` selects the student's targets: the
    logits of those copies, which were not trained on the clip, or those of the teachers, which were.
    """

    folds: int = Field(default=3, ge=2)
    listener: TrainSettings
    hidden: int = Field(default=32, ge=1)
    epochs: int = Field(default=50, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    soft_targets: Literal["out_of_fold", "in_fold"] = "in_fold"


class Recipe(TrainSettings):
    """A student, its teachers, its quantisation-aware training, and its fine-tuning for single devices.

    Soft targets are the mean of the teachers' logits, or their ``fusion``; ``features`` adds feature distillation from
    one teacher. Teachers are evaluated on the unaugmented training clips, or, with ``views``, on that many augmented
    versions of each, which the student is then trained on cyclically, one per epoch. Without ``per_device`` see
    :meth:`device_settings`.
    """

    name: str
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    teachers: tuple[TrainSettings, ...] = ()
    features: FeatureDistillation | None = None
    views: int = Field(default=0, ge=0)
    fusion: Fusion | None = None
    qat: FitSettings = QAT
    per_device: FitSettings | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.features is not None and self.features.teacher >= len(self.teachers):
            raise ValueError(
                f"features.teacher is {self.features.teacher}, but there are {len(self.teachers)} teachers"
            )
        if self.fusion is not None and len(self.teachers) < 2:
            raise ValueError("fusion needs at least two teachers")
        if self.views and self.fusion is not None and self.fusion.soft_targets == "out_of_fold":
            raise ValueError(
                "views need the logits of the teachers, not of their copies: fusion.soft_targets must be in_fold"
            )
        return self

    def device_settings(self) -> FitSettings:
        """``per_device``, or the recipe's own settings with the changes of the DCASE 2025 baseline for one device.

        A third of the epochs at a tenth of the learning rate, without augmentation that simulates other devices. The
        last epoch is kept, because the validation part selects between this network and the general one.
        """
        if self.per_device is not None:
            return self.per_device
        own = {name: getattr(self, name) for name in FitSettings.model_fields}
        changed = {
            "epochs": max(1, round(self.epochs / 3)),
            "learning_rate": self.learning_rate / 10,
            "schedule": Schedule(kind="cosine", warmup_epochs=min(1.0, self.epochs / 10)),
            "augment": self.augment.model_copy(update={"mixstyle_p": 0.0, "device_ir_p": 0.0}),
            "keep": "last",
        }
        return FitSettings(**{**own, **changed})


def known_recipes() -> tuple[str, ...]:
    """Names that ``load_recipe`` takes: the files in ``training/recipes`` and every named network but the teachers."""
    students = [name for name, config in MODELS.items() if config.arch not in TEACHERS]
    return tuple(sorted({path.stem for path in RECIPES.glob("*.yaml")} | set(students)))


def load_recipe(name_or_path: str) -> Recipe:
    """The recipe of that name or YAML file.

    Raises:
        TrainingError: an unknown name, or a file that is no recipe; names the invalid field.
        RuntimeFailure: a file that cannot be read or is too large.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        require_file(path, "a recipe")
        return _parse(path, {"name": path.stem})
    if name_or_path not in known_recipes():
        raise TrainingError(
            f"recipe '{name_or_path}'",
            "unknown",
            expected=" | ".join(known_recipes()),
            next_step="pick one of these or give a YAML file",
        )
    path = RECIPES / f"{name_or_path}.yaml"
    if path.is_file():
        return _parse(path, {"name": name_or_path})
    config = MODELS[name_or_path]
    family = ("cpm23" if config.grn else "dcase25-baseline") if config.arch == "cp_mobile" else "students"
    return _parse(RECIPES / f"{family}.yaml", {"name": name_or_path}, {"model": name_or_path})


def _parse(path: Path, defaults: dict[str, str], overrides: dict[str, str] | None = None) -> Recipe:
    data = read_bounded(path, LARGEST_RECIPE_BYTES, "check the path")
    try:
        record = yaml.safe_load(data.decode("utf-8"))
    except Exception as error:  # PyYAML also lets ValueError out for a date, RecursionError for deep nesting
        raise TrainingError(str(path), "not YAML", got=str(error).partition("\n")[0]) from error
    if not isinstance(record, dict):
        raise TrainingError(str(path), "not a recipe", expected="a YAML mapping", got=type(record).__name__)
    try:
        return Recipe.model_validate({**defaults, **record, **(overrides or {})})
    except UnicodeError as error:  # a lone surrogate, which YAML can escape
        raise TrainingError(str(path), "contains text that is not Unicode", got=str(error)) from error
    except ValidationError as error:
        raise _wrong_field(path, error) from error


def _wrong_field(path: Path, error: ValidationError) -> TrainingError:
    """Report an unknown field before the missing one that it was probably meant to be."""
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    field = ".".join(str(part) for part in first["loc"])
    where = f"{path}, field '{field}'" if field else str(path)
    if first["type"] == "extra_forbidden":
        return TrainingError(
            where, "no such field", next_step="list the fields with: python -m pydoc tinyscene.training.recipe"
        )
    got = first["input"] if field and first["type"] != "missing" else None
    return TrainingError(where, first["msg"].removeprefix("Value error, "), got=got, next_step="correct this field")
