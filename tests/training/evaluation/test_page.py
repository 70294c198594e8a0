"""The page of an evaluation: self-contained, with every value of the evaluation."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.pages import Page
from tests.training.layout import write_layout
from tinyscene import command_line
from tinyscene.training.data.split_files import Record
from tinyscene.training.data.tau22 import Tau22
from tinyscene.training.evaluation.evaluation import Difference, Evaluation, evaluation_of
from tinyscene.training.evaluation.metrics import Bin
from tinyscene.training.models.build import build_model
from tinyscene.training.models.checkpoint import save_model
from tinyscene.training.models.config import named_config
from tinyscene.training.page import charts
from tinyscene.training.page.evaluation import render
from tinyscene.training.page.svg import NARROW, WIDE

LABELS = ("airport", "bus", '<plaza> & "mall"')
CITIES = ("arden", "belmont")


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """A moderately accurate model on three scenes of two cities with three places each, and one city of one place."""
    rows = [(scene, city, place) for scene in LABELS for city in CITIES for place in range(3)]
    rows.append(("bus", "corvin", 9))
    devices = ("a", "b", "s4")
    test = tuple(
        Record(f"audio/{i}-{d}.wav", scene, city, str(place), str(i), "0", d)
        for i, (scene, city, place) in enumerate(rows)
        for d in devices
    )
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(len(test), 3)).astype(np.float32)
    logits[np.arange(len(test)), [LABELS.index(r.scene) for r in test]] += 1.0
    opened = Tau22(Path("tau"), LABELS, tuple(r for r in test if r.device != "s4"), (), test)
    return evaluation_of(logits, LABELS, opened, "a <net>.pt", "torch", {"command": "tinyscene eval & more"})


COMPARED = Difference("other <net>", 0.021, (-0.01, 0.052), 17, 9, 0.168)


def text_of(page: Page) -> str:
    return " ".join(page.text.split())


def test_it_loads_nothing_and_escapes_names(evaluation: Evaluation) -> None:
    html = render(evaluation, COMPARED).decode()
    assert html.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?://|//[a-z]|url\(|@import|<script", html)
    assert not re.search("<net>|<plaza>|eval & more", html)
    page = Page(html)
    for part in ("a <net>.pt", "other <net>", LABELS[2], "tinyscene eval & more"):
        assert part in page.text
    assert render(evaluation, COMPARED) == render(evaluation, COMPARED)


def test_links_have_targets_and_scrolling_works_by_keyboard(evaluation: Evaluation) -> None:
    for compared in (None, COMPARED):
        page = Page(render(evaluation, compared).decode())
        names = [value for _, name, value in page.attributes if name == "id"]
        assert len(names) == len(set(names))
        targets = {value[1:] for _, name, value in page.attributes if name == "href" and value.startswith("#")}
        targets |= {value for _, name, value in page.attributes if name == "aria-labelledby"}
        assert targets <= set(names)
        assert ("comparison" in targets) == (compared is not None)
        scrolling = [name for _, name, value in page.attributes if name == "class" and value == "scroll"]
        assert len([1 for _, name, value in page.attributes if (name, value) == ("tabindex", "0")]) == len(scrolling)


def test_every_value_is_that_of_the_evaluation(evaluation: Evaluation) -> None:
    page, m = Page(render(evaluation, COMPARED).decode()), evaluation.metrics
    text = text_of(page)
    for part in (
        f"Accuracy {100 * m.accuracy:.1f}% of {m.clips} clips",
        f"95 %: {100 * m.interval[0]:.1f}–{100 * m.interval[1]:.1f} %",
        f"Log loss {m.log_loss:.3f}nats 1.099 for equal probabilities",
        f"Calibration error {100 * m.calibration_error:.1f}points",
        "clips of a b",
        "+2.1 points (95 %: -1.0 to +5.2",
    ):
        assert part in text
    groups = [*evaluation.devices, *evaluation.classes, *evaluation.cities]
    rows = [[" ".join(cell.split()) for cell in row] for row in page.tables["groups"]]
    shown = [row for row in rows if row[1].isdigit()]
    assert len(shown) == len(groups)
    for group, (name, clips, accuracy, interval) in zip(groups, shown, strict=True):
        assert (name, clips, accuracy) == (group.name, str(group.clips), f"{group.accuracy:.1%}")
        both = group.interval and tuple(f"{100 * x:.1f}" for x in group.interval)
        assert interval == ("one place" if both is None else f"{both[0]}–{both[1]} %")
    assert shown[-1][3] == "one place"
    for i, label in enumerate(LABELS):
        cells = page.row("confusion", label)[1:]
        assert cells == [f"{n}{100 * n / sum(m.confusion[i]):.0f} %" for n in m.confusion[i]]
    for b in evaluation.reliability:
        assert page.row("bins", f"{b.confidence:.1%}")[1:] == [str(b.clips), f"{b.accuracy:.1%}"]
    assert page.row("pairs", "only this model, a <net>.pt")[1:] == ["17"]
    assert page.row("pairs", "only the other model, other <net>")[1:] == ["9"]
    assert page.row("record", "command")[1:] == ["tinyscene eval & more"]


def test_missing_unseen_devices_are_reported(evaluation: Evaluation) -> None:
    text = text_of(Page(render(replace(evaluation, unseen=None)).decode()))
    assert "Unseen devices – no clips of such devices" in text
    assert "not in the training part: none" in text


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_charts_stay_inside_their_frame(width: int, evaluation: Evaluation) -> None:
    perfect, useless = (replace(evaluation.cities[0], accuracy=a, interval=(a, a)) for a in (1.0, 0.0))
    chart_texts = (
        charts.group_bars(evaluation.classes, evaluation.metrics.accuracy, width),
        charts.group_bars((perfect, useless), 1.0, width),
        charts.group_bars((perfect,), 0.0, width),
        charts.reliability(evaluation.reliability, width),
        charts.reliability((Bin(5, 1.0, 1.0), Bin(7, 0.02, 0.0)), width),
        charts.gain(COMPARED, width),
        charts.gain(replace(COMPARED, gain=0.0, interval=(0.0, 0.0)), width),
        charts.gain(replace(COMPARED, gain=-0.6, interval=(-0.7, -0.5)), width),
    )
    for chart in chart_texts:
        root = ElementTree.fromstring(chart)
        assert len(root.attrib["aria-label"]) > 40
        right, bottom = (float(v) for v in root.attrib["viewBox"].split()[2:])
        assert right == width
        for part in root.iter():
            where = {name: float(value) for name, value in part.attrib.items() if re.fullmatch(r"c?[xy][12]?", name)}
            assert all(0 <= v <= (right if "x" in name else bottom) for name, v in where.items()), part.attrib
        for rect in root.iter("rect"):
            x, y, wide, high = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
            assert wide > 0
            assert high > 0
            assert x + wide <= right + 0.2
            assert y + high <= bottom


def test_the_reliability_diagram_is_to_scale() -> None:
    root = ElementTree.fromstring(charts.reliability((Bin(5, 0.2, 0.2), Bin(7, 0.8, 0.5)), WIDE))
    (diagonal,) = [line for line in root.iter("line") if line.attrib["class"] == "limit"]
    x1, y1, x2, y2 = (float(diagonal.attrib[name]) for name in ("x1", "y1", "x2", "y2"))
    on, below = ((float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.iter("circle"))

    def line_at(x: float) -> float:
        return y1 + (y2 - y1) * (x - x1) / (x2 - x1)

    assert on[1] == pytest.approx(line_at(on[0]), abs=0.1)
    assert below[1] - line_at(below[0]) == pytest.approx(0.3 * (y1 - y2), abs=0.1)


def test_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_layout(tmp_path / "tau", places=2, clips=1)
    config = named_config("cpm23-8", n_classes=3)
    from tinyscene.runtime.spec import preset

    save_model(tmp_path / "x.pt", build_model(config), config, preset("cpm23"), ("airport", "bus", "park"), {})
    words = ["eval", str(tmp_path / "x.pt"), "--data", str(data)]
    assert command_line.main([*words, "--report", str(tmp_path / "no" / "x.html")]) == 2
    assert command_line.main([*words, "--out", str(tmp_path / "x.json"), "--report", str(tmp_path / "x.html")]) == 0
    page = Page((tmp_path / "x.html").read_text())
    assert page.row("record", "command")[1:] == ["tinyscene eval x.pt --data tau"]
    assert len(page.row("record", "digest of the checkpoint")[1]) == 64
    assert command_line.main([*words, "--against", str(tmp_path / "x.json"), "--report", str(tmp_path / "y.html")]) == 0
    assert "Comparison with x.pt" in (tmp_path / "y.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tau", "x.html", "x.json", "x.pt", "y.html"]
