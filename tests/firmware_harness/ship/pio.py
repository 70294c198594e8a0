"""A model of one PIO state machine and of an I2S microphone, for programs of `set x`, `in pins`, `jmp x--` and `nop`.

The state machine reads its input pin as it was before the side-set of the same instruction, because the input passes a
synchroniser. The microphone obeys the I2S specification: it sees the word select at rising clocks, and puts out the
first bit of a word with the falling clock after the one that follows a change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

LINE = re.compile(
    r"(?:(?P<label>\w+):"
    r"|(?P<name>set|in|jmp|nop)\s*(?P<arguments>.*?)\s+side 0b(?P<select>[01])(?P<clock>[01]))\s*(?:;.*)?"
)
WORD_BITS = 32


@dataclass(frozen=True)
class Instruction:
    """``select``, ``clock``: the side-set's bits."""

    name: str
    arguments: str
    select: int
    clock: int


@dataclass
class Microphone:
    """An I2S microphone of the left channel. ``words``: unsigned samples of 32 bits, put out one after the other."""

    words: Iterator[int]
    out: int = 0  # what the data pin shows
    _select: int = 1
    _bits: list[int] = field(default_factory=list)

    def clocked(self, was: int, clock: int, select: int) -> None:
        """The clock pin changes from ``was`` to ``clock``."""
        if was == 0 and clock == 1:
            if self._select == 1 and select == 0:
                word = next(self.words, 0)
                self._bits = [word >> bit & 1 for bit in reversed(range(WORD_BITS))]
            self._select = select
        elif was == 1 and clock == 0:
            self.out = self._bits.pop(0) if self._bits else 0


def parsed(text: str) -> tuple[list[Instruction], dict[str, int]]:
    """Instructions between the wraps, and the index of each label."""
    body = text[text.index(".wrap_target") + len(".wrap_target") : text.rindex(".wrap")]
    instructions: list[Instruction] = []
    labels = {}
    for line in filter(None, map(str.strip, body.splitlines())):
        match = LINE.fullmatch(line)
        assert match is not None, line
        if match["label"]:
            labels[match["label"]] = len(instructions)
        else:
            instructions.append(
                Instruction(match["name"], match["arguments"], int(match["select"]), int(match["clock"]))
            )
    return instructions, labels


def received(text: str, words: Sequence[int], frames: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Words that the program pushes in so many turns of its loop, and (clock, select) after each instruction."""
    instructions, labels = parsed(text)
    microphone = Microphone(iter(words))
    pushed: list[int] = []
    pins: list[tuple[int, int]] = []
    clock = x = word = bits = turns = at = 0
    while turns < frames:
        each = instructions[at]
        sampled = microphone.out
        microphone.clocked(clock, each.clock, each.select)
        clock = each.clock
        pins.append((clock, each.select))
        following = at + 1
        if each.name == "set":
            x = int(each.arguments.removeprefix("x,"))
        elif each.name == "in":
            word, bits = word << 1 | sampled, bits + 1
            if bits == WORD_BITS:
                pushed.append(word)
                word = bits = 0
        elif each.name == "jmp":
            if x != 0:
                following = labels[each.arguments.removeprefix("x--").strip()]
            x = (x - 1) % 2**32
        if following == len(instructions):
            following, turns = 0, turns + 1
        at = following
    return pushed, pins
