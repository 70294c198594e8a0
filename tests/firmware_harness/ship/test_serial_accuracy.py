"""The accuracy mode of the MLPerf Tiny runner: inputs of a labelled set in, the known accuracy out.

The protocol runs on this machine. The arithmetic of the runner is written here again: results are divided by their sum,
those of one file are averaged, and the largest is the answer.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_harness.ship.runner import BYTES_IN_A_COMMAND
from tests.graphs import Builder, random_input
from tinyscene.firmware_harness.build.targets import C_FLAGS, HOST, SANITIZERS
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.ship.serial_program import SerialOptions, SerialProgram
from tinyscene.runtime.arith import dequantise, quantise
from tinyscene.runtime.graph import Graph, Quant
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.scores import scores_of

INPUTS, WRONG = 12, 3  # inputs of the labelled set, and labels of it that are not the network's answer
pytestmark = pytest.mark.needs_tool("gcc")


class HostBoard:
    """A network with the protocol, compiled for this machine; each call of ``results`` is one run of it."""

    def __init__(self, graph: Graph, folder: Path, options: SerialOptions | None = None) -> None:
        folder.mkdir()
        SerialProgram(graph, HOST.cpu, "speed", "double", options).write(folder)
        sources = [*sorted(folder.glob("*.c")), Path(__file__).with_name("serial_host.c")]
        self.program = folder / "serial"
        words = [HOST.compiler, *C_FLAGS, *SANITIZERS, f"-I{folder}", *map(str, sources), "-o", str(self.program)]
        subprocess.run(words, check=True)

    def answer(self, *commands: str) -> list[str]:
        text = "".join(f"{command}%" for command in commands)
        ran = subprocess.run([self.program], input=text, capture_output=True, text=True, check=True)
        return ran.stdout.splitlines()

    def results(self, inputs: list[bytes]) -> np.ndarray:
        """Results (inputs, outputs) as the runner reads them."""
        commands: list[str] = []
        for data in inputs:
            pieces = (data[at : at + BYTES_IN_A_COMMAND].hex() for at in range(0, len(data), BYTES_IN_A_COMMAND))
            commands += [f"db load {len(data)}", *(f"db {piece}" for piece in pieces), "infer 1 0"]
        lines = (re.match(r"m-results-\[(.*)]", line) for line in self.answer(*commands))
        return np.array([[float(value) for value in line[1].split(",")] for line in lines if line])


def runner_accuracy(results: np.ndarray, labels: np.ndarray) -> float:
    """Percentage of right answers as the public runner computes it, each input being a file of its own."""
    normalised = [[value / sum(row) for value in row] for row in results.tolist()]
    predictions = np.argmax(np.mean([normalised], axis=0), axis=1)
    return 100 * float(np.sum(labels == predictions)) / len(labels)


def labelled(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n, ...), and labels of which all but :data:`WRONG` are the network's answer."""
    codes = random_input(np.random.default_rng(5), graph, INPUTS)
    labels = run(graph, codes, rounding="double").reshape(INPUTS, -1).argmax(axis=1)
    labels[:WRONG] = (labels[:WRONG] + 1) % graph.tensors[graph.output].n_bytes
    return codes, labels


def network(*, softmax: bool = False) -> Graph:
    """A network with five outputs: logits close to each other, or their softmax."""
    b = Builder(np.random.default_rng(3), "classes", (6, 5, 2), Quant.per_tensor(0.003, -3))
    logits = b.fully_connected(b.reshape(b.input, (1, 60)), 5)
    return b.graph(b.softmax(logits) if softmax else logits)


@pytest.fixture(scope="module")
def logits() -> Graph:
    return network()


@pytest.fixture(scope="module")
def board(logits: Graph, tmp_path_factory: pytest.TempPathFactory) -> HostBoard:
    return HostBoard(logits, tmp_path_factory.mktemp("serial") / "host", SerialOptions(model_id="ic01"))


def test_the_accuracy_is_that_of_the_labelled_set(logits: Graph, board: HostBoard) -> None:
    codes, labels = labelled(logits)
    results = board.results([row.tobytes() for row in codes])
    outputs = run(logits, codes, rounding="double")
    np.testing.assert_allclose(results, scores_of(logits, outputs), atol=2e-6)
    np.testing.assert_allclose(results.sum(axis=1), 1, atol=1e-5)
    assert runner_accuracy(results, labels) == 100 * (INPUTS - WRONG) / INPUTS


def test_logits_would_give_another_accuracy(logits: Graph) -> None:
    """The reason for probabilities: a negative sum turns the order of the values round, and logits may be shifted."""
    codes, labels = labelled(logits)
    values = dequantise(run(logits, codes, rounding="double"), logits.tensors[logits.output].quant)
    assert runner_accuracy(values - values.max(axis=1, keepdims=True), labels) == 0


def test_the_id_is_that_of_the_option(board: HostBoard) -> None:
    assert "m-model-[ic01]" in board.answer("profile")
    for wrong in ("", "a]", "x" * 65, "two\nlines"):
        with pytest.raises(FirmwareError, match="--model-id"):
            SerialOptions(model_id=wrong)


def test_an_inference_uses_the_last_input_that_was_sent(logits: Graph, board: HostBoard) -> None:
    codes, _ = labelled(logits)
    together = board.results([row.tobytes() for row in codes[:3]])
    alone = [board.results([row.tobytes()])[0] for row in codes[:3]]
    assert len({tuple(row) for row in together.tolist()}) == 3
    assert np.array_equal(together, np.array(alone))


def test_probabilities_of_the_network_itself_are_not_changed(tmp_path: Path) -> None:
    graph = network(softmax=True)
    codes, labels = labelled(graph)
    results = HostBoard(graph, tmp_path / "host").results([row.tobytes() for row in codes])
    real = dequantise(run(graph, codes, rounding="double"), graph.tensors[graph.output].quant)
    np.testing.assert_allclose(results, real, atol=1e-6)
    assert runner_accuracy(results, labels) == 100 * (INPUTS - WRONG) / INPUTS


def test_inputs_are_sent_as_pixels(tmp_path: Path) -> None:
    """uint8 pixels are 128 above the codes, as the reference firmware of ic01 and vww01 takes them."""
    graph = network()
    codes, labels = labelled(graph)
    board = HostBoard(graph, tmp_path / "host", SerialOptions(sent_as="uint8"))
    pixels = (codes.astype(np.int16) + 128).astype(np.uint8)
    assert runner_accuracy(board.results([row.tobytes() for row in pixels]), labels) == 75
    shown = board.answer(f"db load {codes[0].size}", "db 0080ff", "db print 3")
    assert "m-buffer-00-80-ff" in shown


def test_inputs_are_sent_as_real_numbers(tmp_path: Path) -> None:
    """float32, quantised as the runtime does, ties and values out of range included."""
    graph = network()
    codes, labels = labelled(graph)
    quant: Quant = graph.tensors[graph.input].quant
    real = dequantise(codes, quant)
    ties = np.arange(real[0].size, dtype=np.float32).reshape(real[0].shape) + np.float32(0.5)
    real[0] = (ties - 140) * np.float32(quant.scale[0])
    real[1].ravel()[:4] = [np.inf, -np.inf, 1e30, -1e30]
    board = HostBoard(graph, tmp_path / "host", SerialOptions(sent_as="float32", results="values"))
    results = board.results([row.astype("<f4").tobytes() for row in real])
    outputs = run(graph, quantise(real, quant), rounding="double")
    np.testing.assert_allclose(results, dequantise(outputs, graph.tensors[graph.output].quant), atol=1e-6)
    assert runner_accuracy(scores_of(graph, outputs)[2:], labels[2:]) == 100 * (INPUTS - WRONG) / (INPUTS - 2)
