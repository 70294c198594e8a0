"""Readers of resizes, and elements by their places. Refuses cubic ones, and places that no op of the set has."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.ops import Shape
from tinyscene.runtime.resize_tables import WEIGHT_BITS, linear_places, nearest_places, runs

from .builder import Array, OnnxGraphBuilder
from .slices import cut
from .values import NHWC, Codes

GRIDS: tuple[ops.Grid, ...] = get_args(ops.Grid)


def taken(b: OnnxGraphBuilder, codes: Codes, axis: int, places: list[int]) -> Codes:
    """Elements of an axis by their places: the nearest ones of a resize, or parts that are evenly apart, joined."""
    grid = next((each for each in GRIDS if _nearest_is(b.shape(codes)[axis], places, each)), None)
    if grid is not None:
        return _stretched(b, codes, axis, len(places), grid)
    cuts = [_evenly_apart(b, codes, axis, part) for part in runs(places)]
    names = tuple(b.ordered(part, codes.order) for part in cuts)
    if len(names) == 1:
        return Codes(names[0], codes.order)
    return Codes(b.node(b.added("joined"), ops.Concat(codes.order[axis]), names, b.quant(codes)), codes.order)


def _evenly_apart(b: OnnxGraphBuilder, codes: Codes, axis: int, places: list[int]) -> Codes:
    first, step = places[0], places[1] - places[0] if len(places) > 1 else 1
    if step == 0:
        return _stretched(b, cut(b, codes, axis, first, first + 1, 1), axis, len(places), "asymmetric")
    end = places[-1] + (1 if step > 0 else -1)
    return cut(b, codes, axis, first, end if end >= 0 else -b.shape(codes)[axis] - 1, step)


def _nearest_is(size: int, places: list[int], grid: ops.Grid) -> bool:
    return size != len(places) and nearest_places(size, len(places), grid).tolist() == places


def _stretched(b: OnnxGraphBuilder, codes: Codes, axis: int, count: int, grid: ops.Grid) -> Codes:
    """One axis resized to the nearest elements, as the width of an image."""
    shape, inside = b.tensors[codes.name].shape, codes.order[axis]
    quant, plain = b.quant(codes), Codes(codes.name, tuple(range(len(codes.order))))
    before, after = math.prod(shape[:inside]), math.prod(shape[inside + 1 :])
    image = b.reshaped(plain, (1, before, shape[inside], after)).name
    wide = b.node(b.added("stretched"), ops.Resize("nearest", (before, count), grid), (image,), quant)
    target = (*shape[:inside], count, *shape[inside + 1 :])
    return Codes(b.reshaped(Codes(wide, (0, 1, 2, 3)), target).name, codes.order)


def _resize(b: OnnxGraphBuilder) -> None:
    """Height and width; the nearest elements are taken by their places, others need a grid of the op."""
    attributes = b.attributes()
    mode = attributes.get("mode", b"nearest").decode()
    policy = attributes.get("keep_aspect_ratio_policy", b"stretch").decode()
    if mode not in ("nearest", "linear") or policy != "stretch" or attributes.get("antialias", 0):
        b.refuse("limit: kind of resize", expected="nearest or linear, without antialias and aspect ratio", got=mode)

    def resized(codes: Codes) -> Codes:
        shape = b.shape(codes)
        counts, ratios = _resized_sizes(b, shape)
        if len(shape) != 4 or counts[:2] != list(shape[:2]):
            b.refuse("limit: axes of a resize", expected="height and width of an image", got=counts)
        places = [_real_places(b, n, m, ratio) for n, m, ratio in zip(shape[2:], counts[2:], ratios[2:], strict=True)]
        if mode == "nearest":
            for axis, line in enumerate(places, start=2):
                whole = _rounded_places(b, line, shape[axis])
                codes = codes if whole == list(range(shape[axis])) else taken(b, codes, axis, whole)
            return codes
        for grid in GRIDS:
            own = (_linear(n, m, grid) for n, m in zip(shape[2:], counts[2:], strict=True))
            limited = (np.clip(line, 0, n - 1) for line, n in zip(places, shape[2:], strict=True))
            if all(np.allclose(a, c, atol=2e-3) for a, c in zip(own, limited, strict=True)):
                op = ops.Resize("bilinear", (counts[2], counts[3]), grid)
                return Codes(b.node(b.added("resized"), op, (b.nhwc(codes),), b.quant(codes)), NHWC)
        b.refuse("limit: places of a resize", expected="those of an op", got=attributes)

    b.move(resized)


def _resized_sizes(b: OnnxGraphBuilder, shape: Shape) -> tuple[list[int], list[float]]:
    """Sizes of the result, and its ratios to the input, for every axis."""
    axes = [axis % len(shape) for axis in b.attributes().get("axes", range(len(shape)))]
    counts, ratios = list(shape), [1.0] * len(shape)
    scales_at = 2 if len(b.current.input) > 2 else 1
    stated = b.constant(3) if b.has(3) else b.constant(scales_at)
    if len(stated) != len(axes) or not bool((stated > 0).all()):
        b.refuse("sizes or scales", expected=f"{len(axes)} numbers above 0", got=stated[:8].tolist())
    for axis, number in zip(axes, stated.tolist(), strict=True):
        counts[axis] = int(number) if b.has(3) else math.floor(shape[axis] * number)
        ratios[axis] = counts[axis] / shape[axis] if b.has(3) else float(number)
    if min(counts) < 1 or math.prod(counts) > ops.LARGEST_TENSOR_ELEMENTS:
        b.refuse("sizes or scales", expected="a tensor of 1 to 4 Mi elements", got=counts)
    return counts, ratios


def _real_places(b: OnnxGraphBuilder, size: int, count: int, ratio: float) -> Array:
    """The place in the input of each element of the result."""
    grid = b.attributes().get("coordinate_transformation_mode", b"half_pixel").decode()
    steps: Array = np.arange(count, dtype=np.float64)
    if grid == "align_corners":
        return steps * ((size - 1) / (count - 1)) if count > 1 else steps
    if grid == "asymmetric":
        return steps / ratio
    if grid == "pytorch_half_pixel" and count == 1:
        return np.zeros(1)
    if grid in ("half_pixel", "pytorch_half_pixel"):
        return (steps + 0.5) / ratio - 0.5
    b.refuse("limit: places of a resize", expected="half_pixel, asymmetric or align_corners", got=grid)


def _rounded_places(b: OnnxGraphBuilder, places: Array, size: int) -> list[int]:
    functions: dict[str, Callable[[Array], Array]] = {
        "round_prefer_floor": lambda x: np.ceil(x - 0.5),
        "round_prefer_ceil": lambda x: np.floor(x + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    mode = b.attributes().get("nearest_mode", b"round_prefer_floor").decode()
    if mode not in functions:
        b.refuse("nearest_mode", expected=" | ".join(functions), got=mode)
    return [int(place) for place in np.clip(functions[mode](places), 0, size - 1)]


def _linear(size: int, count: int, grid: ops.Grid) -> Array:
    lower, upper, weight = linear_places(size, count, grid, "single")
    share = weight / np.float64(1 << WEIGHT_BITS["single"])
    places: Array = lower * (1 - share) + upper * share
    return places


ROWS = {"Resize": _resize}
