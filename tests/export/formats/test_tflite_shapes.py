"""An operator computes the shape of its output; a file that declares another is refused.

LiteRT replaces the declared shape by its own, TFLite Micro refuses some of these files and runs others as declared:
accepted, such a file would have other scores on each engine and in firmware.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import OPS, Edge, Net
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.file_model import FileModel
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.runtime.engines import LiteRTEngine

OTHER_SHAPE = "its output's shape is not the operator's"
Step = Callable[[Net, Edge], Edge]


def model(step: Step, shape: tuple[int, ...] = (6, 4, 2)) -> FileModel:
    """A convolution, the step, and a classifier."""
    net = Net(np.random.default_rng(1), shape)
    y = step(net, net.conv(net.input, shape[2], (3, 1)))
    return tflite_model(net.finish(net.softmax(net.dense(net.flat(y), 5))), "net.tflite")


def with_options(kind: str, **values: Any) -> Any:
    options = getattr(schema, f"{kind}T")()
    for name, value in values.items():
        setattr(options, name, value)
    return options


def view(kind: str, shape: tuple[int, ...], *constants: Any, **options: Any) -> Step:
    """An operator that moves no element; its options have the name of its kind."""
    words = {"SPLIT_V": "SplitV"}.get(kind, "".join(word.capitalize() for word in kind.split("_")))
    return lambda net, x: net.view(kind, x, shape, *constants, options=with_options(f"{words}Options", **options))


def sliced(begin: list[int], end: list[int], strides: list[int], shape: tuple[int, ...], **masks: Any) -> Step:
    names = ("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask")
    return view("STRIDED_SLICE", shape, begin, end, strides, **dict.fromkeys(names, 0) | masks)


def padded(shape: tuple[int, ...], scale: float = 1.0) -> Step:
    def step(net: Net, x: Edge) -> Edge:
        out = net.edge("padded", shape, x.scale * scale, x.zero_point)
        amounts = net.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
        net.operator(OPS.PAD, [x.index, amounts], out.index, schema.PadOptionsT())
        return net.conv(out, 3, (3, 3), padding="VALID")

    return step


def padded_scores(net: Net, x: Edge) -> Edge:
    return padded((1, 8, 6, 2))(net, net.flat(x))


def dense_that_keeps_dimensions(net: Net, x: Edge) -> Edge:
    out = net.dense(x, 5)
    net.operators[-1].builtinOptions.keepNumDims = True
    return out


def joined_with_relu(net: Net, x: Edge) -> Edge:
    out = net.concat([x, x], 3)
    net.operators[-1].builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
    return out


PADS = [[0, 0], [6, 0], [0, 0], [0, 0]]
WHOLE = ([0, 0, 0, 0], [1, 6, 4, 2], [1, 1, 1, 1])
REFUSED: dict[str, tuple[Step, str]] = {
    "reshape, input": (view("RESHAPE", (1, 4, 6, 2), [1, 6, 4, 2]), OTHER_SHAPE),
    "reshape, option": (view("RESHAPE", (1, 4, 6, 2), newShape=[1, 6, 4, 2]), OTHER_SHAPE),
    "reshape, two unknown sizes": (view("RESHAPE", (1, 4, 6, 2), [-1, -1, 6, 2]), OTHER_SHAPE),
    "reshape, size 0": (view("RESHAPE", (1, 4, 6, 2), [-1, 0, 6, 2]), OTHER_SHAPE),
    "expand_dims": (view("EXPAND_DIMS", (1, 6, 1, 4, 2), [-1]), OTHER_SHAPE),
    "expand_dims, two axes": (view("EXPAND_DIMS", (1, 6, 1, 4, 2), [1, 2]), "no single axis"),
    "squeeze": (view("SQUEEZE", (1, 6, 4, 2), squeezeDims=[0]), OTHER_SHAPE),
    "squeeze, all axes of size 1": (view("SQUEEZE", (1, 4, 6, 2)), OTHER_SHAPE),
    "squeeze, an axis of size 6": (view("SQUEEZE", (1, 4, 6, 2), squeezeDims=[1]), "not of size 1"),
    "transpose": (view("TRANSPOSE", (1, 4, 6, 2), [0, 1, 2, 3]), OTHER_SHAPE),
    "slice": (sliced(*WHOLE, (1, 4, 6, 2)), OTHER_SHAPE),
    "slice of a half": (sliced([0, 3, 0, 0], *WHOLE[1:], (1, 6, 4, 2)), OTHER_SHAPE),
    "slice, step 0": (sliced(*WHOLE[:2], [1, 0, 1, 1], (1, 6, 4, 2)), "step 0"),
    "slice of nothing": (sliced([0, 3, 0, 0], [1, 3, 4, 2], [1] * 4, (1, 1, 4, 2)), "no element of axis 1"),
    "slice that removes a place behind the axis": (
        sliced([0, 6, 0, 0], *WHOLE[1:], (1, 4, 2), shrinkAxisMask=2),
        "place 6 of axis 1, which has 6",
    ),
    "slice of a second half": (view("SLICE", (1, 3, 4, 2), [0, 4, 0, 0], [1, 3, 4, 2]), "part of axis 1"),
    "slice without its axis": (sliced(*WHOLE, (1, 6, 4, 2), shrinkAxisMask=1), OTHER_SHAPE),
    "slice with a new axis": (sliced(*WHOLE, (1, 6, 4, 2), newAxisMask=2), OTHER_SHAPE),
    "pad": (padded((1, 9, 9, 2)), OTHER_SHAPE),
    "pad to another scale": (padded((1, 8, 6, 2), 3.0), "changes scale or zero point"),
    "pad of two dimensions": (padded_scores, "amounts before and after each axis; expected 2 pairs"),
    "mirrored pad of a whole axis": (view("MIRROR_PAD", (1, 12, 4, 2), PADS, mode=0), "size less one of each axis"),
    "gather behind the axis": (view("GATHER", (1, 2, 4, 2), [0, 6], axis=1, batchDims=0), "place outside of the axis"),
    "pack of a scalar axis": (view("PACK", (1, 6, 4, 2), axis=7, valuesCount=1), "PACK.: axis or shapes"),
    "split into parts of another size": (view("SPLIT_V", (1, 5, 4, 2), [5], [1], numSplits=1), "sizes of the parts"),
    "dense that keeps dimensions": (dense_that_keeps_dimensions, "rows of 48 elements"),
    "concatenation with an activation": (joined_with_relu, "fused activation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_output_of_another_shape_or_scale_than_the_operator_has_is_refused(name: str) -> None:
    step, reason = REFUSED[name]
    with pytest.raises(ExportError, match=reason):
        model(step)


ACCEPTED: dict[str, Step] = {
    "reshape, option only": view("RESHAPE", (1, 4, 6, 2), newShape=[1, -1, 6, 2]),
    "squeeze": view("SQUEEZE", (1, 6, 2), squeezeDims=[-2]),
    "expand_dims": view("EXPAND_DIMS", (1, 6, 1, 1, 2), [2]),
    "transpose": view("TRANSPOSE", (1, 1, 6, 2), [0, 2, 1, 3]),
    "slice by masks": sliced([0] * 4, [0] * 4, [1] * 4, (1, 6, 1, 2), beginMask=15, endMask=15),
    "slice without an axis": sliced([0] * 4, [1, 6, 1, 2], [1] * 4, (1, 6, 2), shrinkAxisMask=4),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_operator_that_moves_no_element_gives_the_scores_of_litert(name: str) -> None:
    """The shapes are those that the operator computes; the options of RESHAPE and SQUEEZE reach the engine."""
    made = model(ACCEPTED[name], (6, 4, 2) if name.startswith("reshape") else (6, 1, 2))
    vectors = made.golden()
    expected = vectors.activations["double"][made.graph.output]
    np.testing.assert_array_equal(
        LiteRTEngine(made.graph, made.file("m.tflite"), "reference").output_codes(vectors.inputs), expected
    )
