"""The elements that a STRIDED_SLICE takes, with its masks, as TFLite's kernels take them.

Refuses, with ValueError: steps of 0, parts without elements, places to remove outside of the axis, more axes than the
tensor has, and parts with an offset that LiteRT does not keep within the tensor.
"""

from __future__ import annotations

from .ops import Shape
from .tflite_options import StridedSliceOptions


def strided(
    options: StridedSliceOptions, shape: Shape, begins: list[int], ends: list[int], steps: list[int]
) -> tuple[list[tuple[int, int, int]], Shape]:
    """Begin, size and step on each axis of the input; the output's shape, without removed axes and with new ones."""
    count = len(begins)
    if not count == len(ends) == len(steps):
        raise ValueError("begin, end and step have another number of axes")
    specified = [_kind(options, position) for position in range(count)]
    left = len(shape) - sum(kind not in ("new", "ellipsis") for kind in specified)
    if left < 0 or specified.count("ellipsis") > 1:
        raise ValueError("more axes than the input has")
    places: list[tuple[int, int, int]] = []
    result: list[int] = []
    if "ellipsis" not in specified:
        specified.append("ellipsis")  # the axes behind those that are named are whole
    for position, kind in enumerate(specified):
        if kind == "new":
            result.append(1)
            continue
        if kind == "ellipsis":
            whole = shape[len(places) : len(places) + left]
            places += [(0, size, 1) for size in whole]
            result += whole
            continue
        size, axis = shape[len(places)], len(places)
        masked = options.begin_mask >> position & 1, options.end_mask >> position & 1
        if kind == "removed":
            places.append(_place(0 if masked[0] else begins[position], steps[position], size, axis))
            continue
        part = _counted if options.offset else _part
        places.append(part(begins[position], ends[position], steps[position], size, masked))
        if places[-1][1] < 1:
            raise ValueError(f"no element of axis {axis} is left")
        result.append(places[-1][1])
    return places, tuple(result)


def _kind(options: StridedSliceOptions, position: int) -> str:
    if options.ellipsis_mask >> position & 1:
        return "ellipsis"
    if options.new_axis_mask >> position & 1:
        return "new"
    return "removed" if options.shrink_axis_mask >> position & 1 else "part"


def _place(begin: int, step: int, size: int, axis: int) -> tuple[int, int, int]:
    place = begin + size * (begin < 0)
    if step < 1:
        raise ValueError(f"step {step} to a place of axis {axis}, where engines take no element")
    if not 0 <= place < size:
        raise ValueError(f"place {begin} of axis {axis}, which has {size} elements")
    return place, 1, 1


def _counted(begin: int, count: int, step: int, size: int, masked: tuple[int, int]) -> tuple[int, int, int]:
    """With an offset, the end is a number of elements, and LiteRT accesses memory outside of what it then refuses."""
    first, _, _ = _part(begin, begin, step, size, masked)
    if masked[1] or step < 0 or first + count > size or not (masked[0] or -size <= begin < size):
        raise ValueError("part with an offset that has no end, is backwards, or leaves the axis")
    return first, -(-count // step), step


def _part(begin: int, end: int, step: int, size: int, masked: tuple[int, int]) -> tuple[int, int, int]:
    """Positions from behind are negative, and those outside of the axis become its ends."""
    if step == 0:
        raise ValueError("step 0")
    lowest, highest = (0, size) if step > 0 else (-1, size - 1)
    first, last = (min(max(place + size * (place < 0), lowest), highest) for place in (begin, end))
    if masked[0]:
        first = lowest if step > 0 else highest
    if masked[1]:
        last = highest if step > 0 else lowest
    return first, -((first - last) // step), step
