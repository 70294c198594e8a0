"""Largest stack of a function in a linked image: the deepest path of the call graph, frame by frame.

Frames and calls of C are GCC's own (-fcallgraph-info=su, GCC 10 or newer); those of assembly, of the C library and of
the compiler's support library are read from the disassembly of the image, where the frame of a routine is the sum of
all its decrements of the stack pointer. Function pointers are resolved by their name in the source (POINTERS). Calls
back into the caller's own program count as nothing, and interrupts are not included: the caller adds both.

Refuses recursion, frames of variable size, and a call through a pointer that the table does not list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import FirmwareError
from .targets import Target
from .tools import compiler_major, run_tool

OLDEST_GCC = 10
CALLER = "the caller's own"
# Pointers by their name in the source -> the functions they may point to.
POINTERS = {
    "runs": re.compile(r"\w+_dsp_(relu_)?row_[12]_[012]"),
    "reduce": re.compile(r"(largest|average)(_in_\w+)?(\..+)?"),
    "callback": CALLER,
    "pcm_read": CALLER,
    "on_answer": CALLER,
}
SAVED_BY_MILLICODE = "__riscv_save_"  # RISC-V's prologues of -msave-restore

_NODE = re.compile(r'^node: \{ title: "([^"]+)" label: "([^"]*)"', re.MULTILINE)
_EDGE = re.compile(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"(?: label: "([^"]*)")?', re.MULTILINE)
_SIZE = re.compile(r"\\n(\d+) bytes \(([^)]*)\)")
_CALLEE = re.compile(r"(\w+)(?:\[[^;]*?\])*\(")
_SYMBOL = re.compile(r"^([0-9a-f]+) <([^>]+)>:$")
_CODE_SYMBOL = re.compile(r"^([0-9a-f]+) [TtWw] (\S+)$", re.MULTILINE)
_COMMENT = re.compile(r"\s[#;@] .*")
_JUMP = r"(?:bl?x?|b[a-z]{2,4}|cbn?z|j|jal|call0)(?:\.[nw])?"  # of Thumb, RISC-V and Xtensa
_TARGET = re.compile(_JUMP + r"\s(?:.*[\s,])?([0-9a-f]+) <([^>+]+)(\+0x[0-9a-f]+)?>")


@dataclass
class Frame:
    """Stack of one function without its callees, in bytes, and what it calls. ``refusal``: why there is no bound."""

    bytes: int
    calls: set[str] = field(default_factory=set)
    refusal: str = ""


@dataclass(frozen=True)
class StackBound:
    """Bytes of the deepest path from a function down, and the path's functions."""

    bytes: int
    path: tuple[str, ...]


def stack_bound(image: Path, call_graphs: Iterable[Path], target: Target, function: str) -> StackBound:
    """Bound of one function of a linked image.

    Args:
        image: the linked image.
        call_graphs: GCC's ``.ci`` files of the image's objects.
        target: machine that the image is for.
        function: a function in C.

    Raises:
        FirmwareError: see the module's refusals, or a tool is missing.
    """
    listing = run_tool([target.toolchain.tool("objdump"), "-d", "--no-show-raw-insn", str(image)], target)
    symbols = run_tool([target.toolchain.tool("nm"), str(image)], target)
    frames = disassembled_frames(listing, symbols)
    for path in call_graphs:
        for name, frame in compiled_frames(path.read_text()).items():
            own = frames.get(_last(name))
            measured = own.bytes if own is not None and frame.bytes == 0 else 0  # a function that is assembly
            frames[name] = Frame(max(frame.bytes, measured), frame.calls, frame.refusal)
    for frame in frames.values():
        frame.calls &= frames.keys()  # what is not in the image is not called: GCC lists calls that it removes later
    return deepest(frames, function, target.name)


def call_graph_flags(target: Target) -> tuple[str, ...]:
    """Flags for compiling; none where the compiler cannot write call graphs."""
    return ("-fcallgraph-info=su",) if compiler_major(target) >= OLDEST_GCC else ()


def call_graphs_of(objects: Iterable[Path]) -> tuple[Path, ...]:
    """The ``.ci`` files that GCC wrote beside the objects."""
    return tuple(path for each in objects if (path := each.with_suffix(".ci")).exists())


def deepest(frames: Mapping[str, Frame], function: str, where: str) -> StackBound:
    """The deepest path from ``function`` down.

    Raises:
        FirmwareError: a function of the path is unknown, has no bound, or calls itself.
    """
    known: dict[str, StackBound] = {}

    def visit(name: str, callers: tuple[str, ...]) -> StackBound:
        if name in callers:
            cycle = " -> ".join(map(_last, (*callers[callers.index(name) :], name)))
            raise _unbounded(where, "recursion has no bound", cycle)
        if name not in frames:
            raise _unbounded(where, "unknown function", _last(name))
        if frames[name].refusal:
            raise _unbounded(where, frames[name].refusal, _last(name))
        if name not in known:
            below = [visit(callee, (*callers, name)) for callee in sorted(frames[name].calls)]
            most = max(below, key=lambda bound: bound.bytes, default=StackBound(0, ()))
            known[name] = StackBound(frames[name].bytes + most.bytes, (_last(name), *most.path))
        return known[name]

    return visit(function, ())


def compiled_frames(text: str) -> dict[str, Frame]:
    """Functions of one ``.ci`` file, by GCC's titles: static ones begin with the file's name."""
    frames: dict[str, Frame] = {}
    for title, label in _NODE.findall(text):
        size = _SIZE.search(label)
        if size is not None:
            variable = "dynamic" in size[2] and "bounded" not in size[2]
            frames[title] = Frame(int(size[1]), refusal="the frame has a variable size" if variable else "")
    for caller, callee, site in _EDGE.findall(text):
        if callee != "__indirect_call":
            frames[caller].calls.add(callee)
            continue
        pointer = _pointer(site)
        meant = POINTERS.get(pointer)
        if meant is None:
            frames[caller].refusal = f"a call through the pointer '{pointer}' is not in the table"
        elif isinstance(meant, re.Pattern):
            # Assembly is declared only where it is called: the names are those of this file's nodes or of the image.
            frames[caller].calls |= {title for title, _ in _NODE.findall(text) if meant.fullmatch(_last(title))} or {
                pointer_key(pointer)
            }
    return frames


def pointer_key(pointer: str) -> str:
    """Name of the frame that stands for everything in the image that ``pointer`` may point to."""
    return f"*{pointer}"


def disassembled_frames(listing: str, symbols: str) -> dict[str, Frame]:
    """Routines of an image by every name that ``nm`` prints for them.

    A jump into the middle of another symbol joins both to one routine. Calls through registers are refused; jumps
    through registers are taken for those of a switch, within the routine.
    """
    blocks = _blocks(listing)
    joined = _joined(blocks)
    routines: dict[str, Frame] = {}
    for name, lines in blocks.items():
        frame = routines.setdefault(joined[name], Frame(0))
        for line in lines:
            _add(frame, line, joined, joined[name])
    for frame in routines.values():
        saved = [routines[callee].bytes for callee in frame.calls if callee.startswith(SAVED_BY_MILLICODE)]
        frame.bytes += sum(saved)
    frames = {name: routines[routine] for name, routine in joined.items()}
    at = {int(match[1], 16): match[2] for match in map(_SYMBOL.match, listing.splitlines()) if match}
    for address, alias in _CODE_SYMBOL.findall(symbols):
        place = at.get(int(address, 16) & ~1, "")  # the lowest bit marks Thumb
        if place in frames:
            frames.setdefault(alias, frames[place])
    for pointer, meant in POINTERS.items():
        if isinstance(meant, re.Pattern):
            pointed = {name for name in frames if meant.fullmatch(name)}
            frames[pointer_key(pointer)] = Frame(0, pointed)
    return frames


def _blocks(listing: str) -> dict[str, list[str]]:
    """Instructions of each symbol, ``mnemonic operands``."""
    blocks: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in listing.splitlines():
        symbol = _SYMBOL.match(line)
        if symbol:
            lines = blocks.setdefault(symbol[2], [])
        elif "\t" in line:
            lines.append(_COMMENT.sub("", " ".join(line.split("\t")[1:])))
    return blocks


def _joined(blocks: Mapping[str, list[str]]) -> dict[str, str]:
    """Symbol -> the routine that it is a part of."""
    joined = {name: name for name in blocks}
    for name, lines in blocks.items():
        for line in lines:
            target = _TARGET.match(line)
            if target and target[3] and target[2] in joined and joined[target[2]] != joined[name]:
                old, new = joined[target[2]], joined[name]
                joined = {each: new if routine == old else routine for each, routine in joined.items()}
    return joined


def _add(frame: Frame, line: str, joined: Mapping[str, str], routine: str) -> None:
    """Account for one instruction."""
    frame.bytes += _decrement(line)
    target = _TARGET.match(line)
    if target and target[2] in joined and joined[target[2]] != routine:
        frame.calls.add(joined[target[2]])
    if re.match(r"blx\s+r|jalr\s+(?!zero)|callx0\s", line) and not target:
        frame.refusal = frame.refusal or "a call through a register"
    if re.match(r"(sub|add)(\.w)?\s+sp, (sp, )?r|(sub|add)\s+sp,sp,[ast]\d|(sub|add)(\.n)?\s+a1, a1, a", line):
        frame.refusal = frame.refusal or "the frame has a variable size"


def _decrement(line: str) -> int:
    """Bytes that an instruction of Thumb, RISC-V or Xtensa moves the stack pointer down."""
    if saved := re.match(r"(?:v?push|v?stmdb)(?:\.w)?\s+(?:sp!, )?\{([^}]*)\}", line):
        return sum(_register_bytes(part.strip()) for part in saved[1].split(","))
    for pattern in (r"subw?(?:\.w)?\s+sp, (?:sp, )?#(\d+)", r"v?strd?(?:\.\w+)?\s+.*\[sp, #-(\d+)\]!",
                    r"(?:c\.)?addi?(?:16sp)?\s+sp,(?:sp,)?-(\d+)", r"addm?i\s+a1, a1, -(0x[0-9a-f]+|\d+)"):  # fmt: skip
        if match := re.match(pattern, line):
            return int(match[1], 0)
    return 0


def _register_bytes(part: str) -> int:
    """Bytes of ``r4``, ``r4-r11`` or ``d8-d15`` in a list of registers."""
    first, _, last = part.partition("-")
    numbers = {"sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14, "pc": 15}
    size = {"d": 8, "q": 16}.get(first[0], 4)
    low, high = (numbers.get(name) or int(name[1:]) for name in (first, last or first))
    return size * (high - low + 1)


def _pointer(site: str) -> str:
    """Name of the pointer that is called at ``file:line:column``."""
    path, line, column = site.rsplit(":", 2)
    text = Path(path).read_text().splitlines()[int(line) - 1][int(column) - 1 :]
    callee = _CALLEE.search(text)
    return callee[1] if callee else text.strip()


def _last(title: str) -> str:
    """The function's name of a title ``file:name``."""
    return title.rpartition(":")[2]


def _unbounded(where: str, what: str, got: str) -> FirmwareError:
    return FirmwareError(f"stack of {where}", what, got=got, next_step="export with another kernel set, such as c99")
