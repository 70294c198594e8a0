"""Recipes: every number of a training run, typed, from YAML.

``load_recipe`` knows the files of ``training/recipes`` by name, every CP-Mobile size of
``tinyscene.training.models.config`` (trained by the recipe of its family), and paths of one's own. Refuses unknown
names, fields and impossible values, naming the field.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tinyscene.runtime.spec import PRESETS

from .errors import TrainingError
from .models.config import MODELS, ModelConfig

RECIPES = Path(__file__).parent / "recipes"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Schedule(_Record):
    """Factor on the learning rate over the run.

    ``ramp``: exp(-5 (1 - e/warmup)^2), constant to ``constant_epochs``, then linear over ``decay_epochs`` down to
    ``final_factor``, in whole epochs (2023 winner). ``cosine``: linear warm-up, then half a cosine, step by step.
    """

    kind: Literal["ramp", "cosine", "constant"] = "cosine"
    warmup_epochs: float = Field(default=1.0, ge=0)
    constant_epochs: int = Field(default=0, ge=0)
    decay_epochs: int = Field(default=1, ge=1)
    final_factor: float = Field(default=0.005, ge=0, le=1)


class Augment(_Record):
    """What training clips go through; a zero switches a step off.

    ``device_irs`` is a folder of WAV files with impulse responses; without one they come from a microphone model.
    ``mixup_p`` is the share of clips that are mixed with another.
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

    ``average`` says over what KL is averaged: ``batch`` alone, or ``batch_and_classes`` as the 2023 code does.
    """

    temperature: float = Field(default=2.0, gt=0)
    hard_weight: float = Field(default=0.02, ge=0, le=1)
    average: Literal["batch", "batch_and_classes"] = "batch_and_classes"


class FeatureDistillation(_Record):
    """What is added to the loss: ``weight`` times the distance between a stage of the student and one of a teacher.

    Stages are names of submodules, the last ones of CP-Mobile and CP-ResNet unless named; ``teacher`` counts the
    recipe's teachers from 0.
    """

    kind: Literal["projection", "gram"] = "projection"
    teacher: int = Field(default=0, ge=0)
    student_stage: str | None = None
    teacher_stage: str | None = None
    weight: float = Field(default=1.0, gt=0)


class FitSettings(_Record):
    """How one network is trained. ``keep`` says which epoch's weights count: the last, the one with the best accuracy
    on the validation part (never the test part), or the mean of the last ``soup_epochs``. ``clip_gradient`` bounds
    the norm of the gradient, 0 leaves it; ``bf16`` mixes precisions, but for the log-mel and the weights;
    ``compile`` compiles the network's step, which pays in long runs."""

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


# Quantisation-aware training goes on from a trained network: few epochs, small steps (the 2023 code: 20 epochs, 5e-5),
# no style mixing, which would move the ranges.
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
    """Which network, what it hears, where it starts from, and how it is trained.

    ``model`` is a name, or the sizes of a CP-Mobile, ``{base_channels: 24, channels_multiplier: 1.8, ...}`` by the
    fields of :class:`ModelConfig`, or ``package.module:function`` for a teacher of one's own, which brings its own
    front end.
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
            raise ValueError("neither a name nor sizes")
        if isinstance(value, str) and value not in MODELS and ":" not in value:
            raise ValueError(f"unknown model '{value}', known: {' | '.join(MODELS)}")
        return value

    def sizes(self) -> ModelConfig | None:
        """What the network is; None for one of a user's own."""
        return MODELS.get(self.model) if isinstance(self.model, str) else self.model

    @property
    def network(self) -> str:
        """The network in a word, for people and for folders."""
        return self.model if isinstance(self.model, str) else self.model.name

    @field_validator("frontend")
    @classmethod
    def _known_frontend(cls, value: str) -> str:
        if value not in PRESETS:
            raise ValueError(f"unknown front end '{value}', known: {' | '.join(PRESETS)}")
        return value


def _sizes(fields: dict[str, Any]) -> ModelConfig:
    """Sizes as a recipe has them; raises ValueError naming the one that is wrong."""
    elsewhere = sorted({"n_classes", "padding"} & set(fields))
    if elsewhere:
        raise ValueError(f"{elsewhere[0]} is no size: classes are those of the data, padding stands beside model")
    try:
        return ModelConfig.model_validate({"arch": "cp_mobile", **fields})
    except ValidationError as error:
        first = error.errors()[0]
        what = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{'.'.join(str(part) for part in first['loc'])}: {what}") from error


class Fusion(_Record):
    """Teachers weighed by learned heads instead of averaged: ``listener`` trains z1, the other numbers are those of z2.

    ``folds`` copies of every teacher are trained for the heads; ``soft_targets`` says whether the student then learns
    from the logits of those copies, which have not met the clip, or from those of the teachers, which have.
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
    """A student, the teachers it learns from, how it is then trained for int8, and how for single devices.

    Soft targets are the mean of the teachers' logits, or what ``fusion`` makes of them; ``features`` adds a stage of
    one. The teachers answer the training clips as they are, or, with ``views``, so many augmented versions of each,
    and then the student hears these in turn, one an epoch. Without ``per_device`` see :meth:`device_settings`.
    """

    name: str
    seed: int = 0
    teachers: tuple[TrainSettings, ...] = ()
    features: FeatureDistillation | None = None
    views: int = Field(default=0, ge=0)
    fusion: Fusion | None = None
    qat: FitSettings = QAT
    per_device: FitSettings | None = None

    @model_validator(mode="after")
    def _teachers_are_there(self) -> Recipe:
        if self.sizes() is None:
            raise ValueError("a student is a named network, for it is lowered to integers")
        if self.features is not None and self.features.teacher >= len(self.teachers):
            raise ValueError(f"features.teacher is {self.features.teacher}, but teachers are {len(self.teachers)}")
        if self.fusion is not None and len(self.teachers) < 2:
            raise ValueError("fusion needs two teachers or more")
        if self.views and self.fusion is not None and self.fusion.soft_targets == "out_of_fold":
            raise ValueError(
                "views are answered by the teachers themselves, not by copies: soft_targets must be in_fold"
            )
        return self

    def device_settings(self) -> FitSettings:
        """``per_device``, or else the recipe's own settings as the DCASE 2025 baseline changes them for one device.

        A third of the epochs at a tenth of the learning rate, and nothing that simulates other devices. The last
        epoch counts, for the validation part is to judge between this network and the general one.
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
    """Names ``load_recipe`` takes: the files of ``training/recipes`` and every CP-Mobile size."""
    sizes = [name for name, config in MODELS.items() if config.arch == "cp_mobile"]
    return tuple(sorted({path.stem for path in RECIPES.glob("*.yaml")} | set(sizes)))


def load_recipe(name_or_path: str) -> Recipe:
    """The recipe of that name or YAML file; raises TrainingError naming the field that is wrong."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise TrainingError(str(path), "no such recipe file", next_step="check the path")
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
    family = "cpm23" if MODELS[name_or_path].grn else "dcase25-baseline"
    return _parse(RECIPES / f"{family}.yaml", {"name": name_or_path}, {"model": name_or_path})


def _parse(path: Path, defaults: dict[str, str], overrides: dict[str, str] | None = None) -> Recipe:
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise TrainingError(str(path), "not a recipe", expected="a YAML mapping", got=type(record).__name__)
        return Recipe.model_validate({**defaults, **record, **(overrides or {})})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainingError(str(path), "not YAML", got=str(error).splitlines()[0]) from error
    except ValidationError as error:
        raise _wrong_field(path, error) from error


def _wrong_field(path: Path, error: ValidationError) -> TrainingError:
    """The most telling problem: a field that is misspelt, before the one that is missing for it."""
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    field = ".".join(str(part) for part in first["loc"])
    where = f"{path}, field '{field}'" if field else str(path)
    if first["type"] == "extra_forbidden":
        return TrainingError(where, "no such field", next_step="training/recipe.py lists the fields")
    got = first["input"] if field and first["type"] != "missing" else None
    return TrainingError(where, first["msg"].removeprefix("Value error, "), got=got, next_step="correct this field")
