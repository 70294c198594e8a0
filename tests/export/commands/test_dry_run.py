"""A recipe tried out: every stage runs, nothing but length is cut, and the figures are of the recipe as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinyscene import command_line
from tinyscene.export.commands.dry_run import BATCH, VIEWS, shortened
from tinyscene.training.recipe import QAT, load_recipe

PUBLISHED = ["cpm23", "dcase25-baseline", "p1-dfm", "p1-ssfm", "p2-ensemble"]
SMALL = """
model: {base_channels: 8, strides: {b2: [2, 2], b4: [2, 1]}}
epochs: 4
batch_size: 32
learning_rate: 1.0e-3
views: 3
features: {teacher: 1}
fusion: {folds: 3, epochs: 2, listener: {model: cpm23-8, epochs: 2, batch_size: 16, learning_rate: 1.0e-3}}
teachers:
  - {model: passt-tiny, frontend: passt, epochs: 5, batch_size: 50, learning_rate: 1.0e-3, keep: soup}
  - {model: cpresnet-33k, padding: torch, frontend: cpresnet, epochs: 1, batch_size: 16, learning_rate: 1.0e-3}
"""


@pytest.mark.parametrize("name", PUBLISHED)
def test_only_length_is_cut(name: str) -> None:
    recipe = load_recipe(name)
    short = shortened(recipe)
    assert (short.epochs, short.batch_size, short.qat.epochs, short.qat.batch_size) == (1, BATCH, 1, BATCH)
    length = {"epochs", "batch_size", "views"}
    for was, now in (
        *zip(recipe.teachers, short.teachers, strict=True),
        (recipe.qat, short.qat),
        *([(recipe.fusion.listener, short.fusion.listener)] if recipe.fusion and short.fusion else []),
    ):
        assert now.model_dump(exclude=length) == was.model_dump(exclude=length)
    parts = {"teachers", "qat", "fusion", *length}
    assert short.model_dump(exclude=parts) == recipe.model_dump(exclude=parts)
    assert short.views == min(recipe.views, VIEWS)
    if recipe.fusion and short.fusion:
        assert short.fusion.model_dump(exclude={"listener"}) == recipe.fusion.model_dump(exclude={"listener"})


def test_a_small_recipe_goes_through_every_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(SMALL)
    assert command_line.main(["recipe", "dry-run", str(tmp_path / "mine.yaml"), "--subset", "5", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    stages = ["data", "teachers and their logits", "student", "quantisation-aware training", "bundle", "check"]
    assert [stage["name"] for stage in found["stages"]] == [*stages, "throughput"]
    assert [f"{stage} ..." for stage in stages] == [line for line in err.splitlines() if line.endswith("...")][:-1]
    assert found["clips"] == 30
    assert all(limit["passed"] for limit in found["limits"])
    size, macs = (limit["measured"] for limit in found["limits"])
    assert 7_000 < size <= 7_786, "channels that are constant after so little training are removed"
    assert 1_500_000 < macs <= 1_582_336
    assert found["full_size_clips"] == 5_933
    rows = {(e["kind"], e["network"]): e for e in found["expenses"]}
    assert rows["student", "cp-mobile-8-2-2"]["steps"] == 4 * 186
    assert rows["teacher", "passt-tiny"]["passes"] == 15
    assert rows["QAT", "cp-mobile-8-2-2"]["passes"] == QAT.epochs
    assert found["hours"] == pytest.approx(sum(e["hours"] for e in found["expenses"]))
    for e in found["expenses"]:
        assert e["hours"] == pytest.approx(e["passes"] * 5_933 / e["clips_per_s"] / 3600)
    assert not list(Path(tmp_path).glob("*/"))  # nothing is left beside the recipe


def test_what_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["recipe", "dry-run", "cpm23", "--subset", "7"]) == 2
    assert "5 | 10 | 25 | 50 | 100" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_recipes_unchanged(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["recipe", "dry-run", name]) == 0
    said = capsys.readouterr().out
    assert f"{name}: every stage ran on 30 training clips" in said
    assert "  QAT       " in said
    assert ("passt-s" in said) == name.startswith("p")
