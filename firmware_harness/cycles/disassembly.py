"""Instructions of an image from GNU objdump's listing of Thumb code: class, registers read and written.

Knows what the cost models need: what moves memory, what multiplies, divides or branches, and which registers connect
neighbours. Refuses a listing without instructions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..errors import FirmwareError

Kind = Literal[
    "other",
    "load",
    "load_double",
    "load_multiple",
    "store",
    "store_double",
    "store_multiple",
    "multiply",
    "divide",
    "branch",
    "call",
    "float",
    "float_divide",
    "float_multiply_add",
    "float_move",
    "vector",
    "if_then",
]
LINE = re.compile(r"^ *([0-9a-f]+):\t((?:[0-9a-f]{4} ?){1,2}) *\t(\S+)(?:\t([^;@]*))?")
REGISTER = re.compile(r"\b(r\d+|sl|fp|ip|sp|lr|pc|[sdq]\d+)\b")
CONDITION = "(?:eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)"
VECTOR = re.compile(r"\bq[0-7]\b")
OLD_NAMES = {"sl": "r10", "fp": "r11", "ip": "r12"}
KINDS: tuple[tuple[Kind, str], ...] = (  # the first that matches a mnemonic without condition and width
    ("if_then", r"it[te]*"),
    ("load_double", r"ldrexd|ldrd"),
    ("load_multiple", r"ldm\w*|pop"),
    ("load", r"ldr\w*"),
    ("store_double", r"strexd|strd"),
    ("store_multiple", r"stm\w*|push"),
    ("store", r"str\w*"),
    ("call", r"bl|blx"),
    ("branch", rf"b|bx|cbn?z|tb[bh]|b{CONDITION}|le|wls|dls"),
    ("divide", r"[su]div"),
    ("multiply", r"muls?|mla|mls|[su]mul\w*|[su]mla\w*|smls\w*|smm(?:ul|la|ls)r?|smu[as]dx?|umaal"),
    ("float_divide", r"v(?:div|sqrt)\.f\w+"),
    ("float_multiply_add", r"vf?n?m(?:la|ls|a|s)\.f\w+"),
    ("float", r"v(?:add|sub|mul|nmul|abs|neg|cmpe?|cvt\w*|min\w*|max\w*|sel\w*|rint\w*)\.\S+"),
    ("float_move", r"v\w+(?:\.\S+)?"),
)
PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in KINDS)
ACCUMULATING = re.compile(r"mla|mls|sml[as]\w*|smml[as]r?|umlal|umaal")
LONG = re.compile(r"[su]mull|[su]mlal|smlal\w+|smlsld\w*|umaal")  # results of 64 bits, in two registers
READS_RESULT = re.compile(r"movt|bfi|bfc|[su]mlal|smls?ld|umaal|vf?n?ml?[as]\b|vm(la|ls)|vfm")
COPIES = re.compile(r"mov|mvn|neg|[su]xt|rev|rbit|clz|adr|v")
NO_RESULT = re.compile(r"cmp|cmn|tst|teq|nop|dsb|dmb|isb|bkpt|cps\w*|msr|vcmpe?|pld\w*")
LOADS: frozenset[Kind] = frozenset(("load", "load_double", "load_multiple"))
STORES: frozenset[Kind] = frozenset(("store", "store_double", "store_multiple"))
MEMORY = LOADS | STORES
MULTIPLE: frozenset[Kind] = frozenset(("load_multiple", "store_multiple", "load_double", "store_double"))
FLOAT: frozenset[Kind] = frozenset(("float", "float_divide", "float_multiply_add", "float_move"))


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    ``registers``: how many a load or store multiple moves; ``accumulator``: of a multiply-add; ``value``: the register
    that a single load fills, without a base that it changes.
    """

    address: int
    n_bytes: int
    mnemonic: str
    kind: Kind
    reads: frozenset[str]
    writes: frozenset[str]
    registers: int = 0
    accumulator: str = ""
    value: str = ""

    @property
    def leaves(self) -> bool:
        """Whether it may continue elsewhere: a branch, a call, or a load of the program counter."""
        return self.kind in ("branch", "call") or "pc" in self.writes

    @property
    def moves_vectors(self) -> bool:
        """Whether it loads or stores vectors."""
        return self.kind == "vector" and self.mnemonic.startswith(("vld", "vst"))

    @property
    def straddles(self) -> bool:
        """Whether it has 32 bits, at an address of 2 modulo 4."""
        return self.n_bytes == 4 and self.address % 4 == 2


def instructions(listing: str) -> Iterator[Instruction]:
    """Instructions of a listing in order.

    Raises:
        FirmwareError: there are none.
    """
    conditional = 0  # instructions left of an IT block, whose mnemonics have a condition
    empty = True
    for line in listing.splitlines():
        match = LINE.match(line)
        if match is None or match[3].startswith("."):
            continue
        empty = False
        address, n_bytes = int(match[1], 16), len(match[2].replace(" ", "")) // 2
        mnemonic = match[3].removesuffix(".w").removesuffix(".n")
        if conditional:
            conditional -= 1
            mnemonic = re.sub(rf"{CONDITION}(?=\.|$)", "", mnemonic, count=1)
        if re.fullmatch(r"it[te]*", mnemonic):
            conditional = len(mnemonic) - 1
        yield _instruction(address, n_bytes, mnemonic, match[4] or "")
    if empty:
        raise FirmwareError("listing of an image", "no instruction")


def _instruction(address: int, n_bytes: int, mnemonic: str, operands: str) -> Instruction:
    kind = "vector" if mnemonic.startswith("v") and VECTOR.search(operands) else _kind(mnemonic)
    inside = operands[operands.find("{") + 1 : operands.find("}")] if "{" in operands else ""
    listed = _listed(inside)
    names = [OLD_NAMES.get(name, name) for name in REGISTER.findall(operands)]
    if kind in ("load_multiple", "store_multiple"):
        reads, writes = _of_multiple(kind, mnemonic, operands, names, listed)
        return Instruction(address, n_bytes, mnemonic, kind, reads, writes, len(listed))
    if kind in MEMORY:
        reads, writes = _of_memory(kind, operands, names)
        return Instruction(address, n_bytes, mnemonic, kind, reads, writes, value=names[0] if kind == "load" else "")
    if kind in ("branch", "call", "if_then") or NO_RESULT.match(mnemonic):
        return Instruction(address, n_bytes, mnemonic, kind, frozenset(names), frozenset())
    n_results = 2 if LONG.fullmatch(mnemonic) else 1
    writes = frozenset(names[:n_results])
    reads = frozenset(names if _reads_result(mnemonic, operands) else names[n_results:])
    accumulator = "" if not ACCUMULATING.fullmatch(mnemonic) else names[0] if n_results == 2 else names[-1]
    return Instruction(address, n_bytes, mnemonic, kind, reads, writes, accumulator=accumulator)


def _kind(mnemonic: str) -> Kind:
    for kind, pattern in PATTERNS:
        if pattern.fullmatch(mnemonic):
            return kind
    return "other"


def _reads_result(mnemonic: str, operands: str) -> bool:
    """Whether the first operand is read as well: `adds r0, r1` and `adds r0, #1`, not `mov r0, r1`."""
    if READS_RESULT.match(mnemonic):
        return True
    return operands.count(",") == 1 and not COPIES.match(mnemonic)


def _of_multiple(
    kind: Kind, mnemonic: str, operands: str, names: list[str], listed: list[str]
) -> tuple[frozenset[str], frozenset[str]]:
    base = "sp" if mnemonic in ("push", "pop") else names[0]
    moved_base = {base} if mnemonic in ("push", "pop") or "!" in operands else set()
    if kind == "load_multiple":
        return frozenset({base}), frozenset(listed) | moved_base
    return frozenset(listed) | {base}, frozenset(moved_base)


def _of_memory(kind: Kind, operands: str, names: list[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Registers of a load or store of one or two values; the base is written back with `!` or an offset behind."""
    n_values = 2 if kind in ("load_double", "store_double") else 1
    values, address = names[:n_values], names[n_values:]
    writes_back = "!" in operands or re.search(r"\], *\S", operands) is not None
    base = set(address[:1]) if writes_back else set()
    if kind in ("load", "load_double"):
        return frozenset(address), frozenset(values) | base
    return frozenset(names), frozenset(base)


def _listed(inside: str) -> list[str]:
    """Registers of a list such as `r4-r7, lr`."""
    names: list[str] = []
    for part in filter(None, (part.strip() for part in inside.split(","))):
        first, _, last = part.partition("-")
        first, last = OLD_NAMES.get(first, first), OLD_NAMES.get(last, last)
        if last and first[1:].isdigit() and last[1:].isdigit():
            names += [f"{first[0]}{number}" for number in range(int(first[1:]), int(last[1:]) + 1)]
        else:
            names.append(first)
    return names
