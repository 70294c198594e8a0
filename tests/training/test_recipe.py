"""Recipes: known ones load, errors name the field, schedules follow their formulas."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.training.errors import TrainingError
from tinyscene.training.fit.module import learning_rate_factor
from tinyscene.training.fit.network import build_network
from tinyscene.training.models.config import MODELS
from tinyscene.training.recipe import RECIPES, Recipe, Schedule, known_recipes, load_recipe


@pytest.mark.parametrize("name", known_recipes())
def test_known_recipes_load(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    if name in MODELS:
        assert recipe.model == name
        assert recipe.frontend == ("cpm23" if MODELS[name].grn else "dcase25")


def test_every_student_and_the_demo_are_known() -> None:
    students = {name for name, config in MODELS.items() if config.arch not in ("cp_resnet", "passt")}
    assert students | {"demo"} <= set(known_recipes())
    assert not {"passt-s", "cpresnet-128k"} & set(known_recipes())


def test_a_size_is_trained_by_the_recipe_of_its_family() -> None:
    for size, family in (("dcase25", "dcase25-baseline"), ("cpm23-32l", "cpm23"), ("ds-cnn-64", "students")):
        assert load_recipe(size).model_copy(update={"name": family}) == load_recipe(family)
    assert load_recipe("cpm23-8").teachers == load_recipe("cpm23").teachers


def test_teachers_of_the_demo_are_a_wider_cp_mobile_and_a_cp_resnet() -> None:
    recipe = load_recipe("demo")
    archs = sorted(MODELS[t.model].arch for t in recipe.teachers)
    assert archs == ["cp_mobile", "cp_resnet"]
    assert recipe.padding == "same"
    wider = next(t for t in recipe.teachers if MODELS[t.model].arch == "cp_mobile")
    assert MODELS[wider.model].base_channels > MODELS[recipe.model].base_channels


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("epochs: 0", "field 'epochs'"),
        ("epochs: many", "field 'epochs'"),
        ("bach_size: 3", "field 'bach_size'"),
        ("model: cpm24", "cpm23-8"),
        ("model: {base_channel: 8}", "field 'model': base_channel: Extra"),
        ("model: {strides: {b9: [1, 2]}}", "field 'model': strides: unknown block 'b9'"),
        ("model: {padding: same}", "padding is not a size"),
        ("model: 8", "field 'model'"),
        ("frontend: mfcc", "dcase25"),
        ("augment: {mixstyle_p: 2}", "field 'augment.mixstyle_p'"),
        ("teachers: [{model: cpm23-8, epochs: 1}]", "field 'teachers.0.learning_rate'"),
        ("- a list", "not a recipe"),
        ("a: [", "not YAML"),
    ],
)
def test_errors_name_the_field(change: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    base = "" if change.startswith(("-", "a:")) else "model: cpm23-8\nepochs: 2\nlearning_rate: 0.001\n"
    lines = [line for line in base.splitlines() if line.split(":")[0] != change.split(":")[0]]
    path.write_text("\n".join([*lines, change]))
    with pytest.raises(TrainingError, match=says) as refusal:
        load_recipe(str(path))
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_unknown_recipes_list_known_ones(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="demo"):
        load_recipe("nonsense")
    with pytest.raises(RuntimeFailure, match="no such file; expected a recipe"):
        load_recipe(str(tmp_path / "none.yaml"))


def test_a_recipe_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((RECIPES / "demo.yaml").read_text())
    assert load_recipe(str(path)).model_copy(update={"name": "demo"}) == load_recipe("demo")


def test_a_model_by_its_sizes(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: {base_channels: 16, strides: {b3: [1, 2]}, grn: false}\nepochs: 2\nlearning_rate: 0.001\n")
    recipe = load_recipe(str(path))
    assert (recipe.network, recipe.sizes()) == ("cp-mobile-16-2-2", recipe.model)
    network = build_network(recipe, 4)
    assert network.config is not None
    assert (network.config.n_classes, network.config.padding) == (4, "same")
    assert network.config.strides == {"b3": (1, 2)}
    assert Recipe.model_validate(recipe.model_dump(exclude_unset=True)) == recipe


def test_published_ramp() -> None:
    schedule = load_recipe("cpm23-32l").schedule
    at = [learning_rate_factor(schedule, epoch * 7, 7, 150) for epoch in range(150)]
    for epoch in range(14):
        assert at[epoch] == pytest.approx(math.exp(-5 * (1 - epoch / 14) ** 2))
    assert at[14:51] == [1.0] * 37
    assert at[92] == pytest.approx((1 + 0.005) / 2)
    assert at[134:] == pytest.approx([0.005] * 16)


def test_cosine_and_constant() -> None:
    schedule = Schedule(kind="cosine", warmup_epochs=2, final_factor=0.1)
    at = [learning_rate_factor(schedule, step, 10, 12) for step in range(121)]
    assert at[:20] == sorted(at[:20])
    assert at[20] == 1.0
    assert at[70] == pytest.approx(0.55)
    assert at[120] == pytest.approx(0.1)
    assert at[20:] == sorted(at[20:], reverse=True)
    assert learning_rate_factor(Schedule(kind="constant"), 99, 10, 12) == 1.0


@pytest.mark.parametrize("field", ["epochs", "batch_size", "learning_rate", "weight_decay"])
@pytest.mark.parametrize("value", ["true", ".inf", ".nan"])
def test_a_number_is_finite_and_no_truth_value(field: str, value: str, tmp_path: Path) -> None:
    text = (RECIPES / "cpm23.yaml").read_text()
    path = tmp_path / "odd.yaml"
    path.write_text(re.sub(rf"^{field}:.*$", f"{field}: {value}", text, flags=re.MULTILINE))
    assert path.read_text() != text
    with pytest.raises(TrainingError, match=f"field '{field}'"):
        load_recipe(str(path))


def test_a_recipe_of_many_megabytes_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    """YAML is parsed character by character."""
    path = tmp_path / "long.yaml"
    path.write_bytes(b"x" * 20_000_000)
    with pytest.raises(RuntimeFailure, match="too large; expected at most 65,536 bytes; got 20,000,000"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b'model: "\\ud800"\nepochs: 1\nlearning_rate: 0.1\n', "not Unicode"),
        (b"epochs: 2001-99-99\n", "not YAML"),
        (b"epochs: " + b"[" * 3000, "not YAML"),
        (b"epochs: " + b"9" * 5000, "not YAML"),
        (b"epochs: \xff\n", "not YAML"),
    ],
    ids=["surrogate", "date", "nesting", "digits", "encoding"],
)
def test_text_that_yaml_or_a_field_cannot_hold_is_refused(text: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(text)
    with pytest.raises(TrainingError, match=what):
        load_recipe(str(tmp_path / "r.yaml"))
