"""Modelled cycles, time and energy as lines for people and as plain JSON."""

from __future__ import annotations

from collections.abc import Iterator

from ..cycles.estimate import Interval, short
from ..run.modelled import Cost, Modelled

NAMES = ("cycles", "milliseconds", "microjoules")


def modelled_record(modelled: Modelled | None) -> dict[str, object] | None:
    """Plain JSON; None where nothing was modelled."""
    if modelled is None:
        return None
    machine = modelled.machine
    return {
        "board": None if machine.board is None else machine.board.name,
        "cpu": f"Cortex-{machine.family.name}",
        "mhz": None if machine.board is None else machine.board.mhz.value,
        "wait_states": machine.memory.wait_states,
        "inference": cost_record(modelled.inference),
        "audio_second": None if modelled.audio_second is None else cost_record(modelled.audio_second),
        "cautions": list(modelled.cautions),
    }


def cost_record(cost: Cost) -> dict[str, dict[str, float] | None]:
    """Plain JSON: value, low and high of each figure, None where it is unknown."""
    return {name: _interval_record(getattr(cost, name)) for name in NAMES}


def _interval_record(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def modelled_lines(modelled: Modelled | None) -> Iterator[str]:
    """Lines for people; none where nothing was modelled."""
    if modelled is None:
        return
    yield f"modelled for  {modelled.machine.title}"
    yield from _cost_lines(modelled.inference, "for one inference")
    if modelled.audio_second is not None:
        yield from _cost_lines(modelled.audio_second, "for a second of audio, with the front end")
    for caution in modelled.cautions:
        yield f"note          {caution}"


def _cost_lines(cost: Cost, what: str) -> Iterator[str]:
    c = cost.cycles
    yield f"cycles        {c.value:>13,.0f} {what}, {c.low:,.0f} to {c.high:,.0f}"
    for name, unit, interval in (("time", "ms", cost.milliseconds), ("energy", "uJ", cost.microjoules)):
        if interval is not None:
            low, high = short(interval.low), short(interval.high)
            yield f"{name:<13} {short(interval.value):>13} {unit} {what}, {low} to {high}"
