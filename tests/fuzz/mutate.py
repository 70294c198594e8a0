"""Mutations of bytes, JSON values, zip members and objects of a schema, all from one seeded random generator.

A mutation of a whole format keeps what a reader checks first (digests, CRCs, offsets of a FlatBuffer) right, so that
what lies behind it is reached. Refuses nothing: a document that cannot be parsed is mutated as bytes.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

INTEGERS = (
    *(0, 1, -1, 2, 3, 5, 7, 127, 128, -128, 255, 256),
    *(65_535, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**63, 2**70),
)
FLOATS = (0.0, -0.0, 0.5, 1e-45, 1e-9, 1.5, 3e38, 1e308, -1e308, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    *("", "\ud800", "\x1b[31m", "a\nb", "a\tb", "\0", "é", "../x", "/", "."),
    *("*/", '"', "\\", "%s", "x" * 300, "nan", "1"),
)
RAW = ("[" * 5000, '{"a":' * 3000, "9" * 5000, "1e999", "-", "NaN", "Infinity", "\xff", "[1,]", '"\\ud800"')
_MARK = "\ufdd0"  # replaced in the text by one of RAW
_CHUNK = 64
_MARKUP = (
    *(b"  ", b"\t", b"- ", b"&a ", b"*a", b"!!python/object:os.system ", b"<<: ", b"? ", b'"', b"|\n", b"\xff", b"\0"),
    *(b"[" * 900, b"9" * 5000, b"2001-99-99", b'"\\ud800"', b"!!binary x", b".nan", b"1e999"),
)
_TYPES = ("|O", "<i8", "<f4", "<c16", "|S9", "|V4", "<U5", "<M8[s]", "|b1", ">i4")
_SHAPES = ("()", "(0,)", "(-1,)", f"({2**31},)", "(1e9,)", "'a'", f"({2**62}, 4)")


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to four changes of bytes: flips, integers of 1 to 8 bytes, insertions, removals and copies."""
    out = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, size = rng.randrange(len(out)), rng.randrange(1, _CHUNK)
        kind = rng.randrange(6)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            width, order = rng.choice((2, 4, 8)), rng.choice(("little", "big"))
            out[at : at + width] = (rng.choice(INTEGERS) % 2 ** (8 * width)).to_bytes(width, order)
        elif kind == 3:
            out[at:at] = rng.randbytes(size)
        elif kind == 4:
            del out[at : at + size]
        else:
            source = rng.randrange(len(out))
            out[at : at + rng.choice((0, size))] = out[source : source + size]
        if not out:
            out = bytearray(b"\0")
    return bytes(out)


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """A JSON document with one to four values changed."""
    try:
        holder = [json.loads(data)]
    except (ValueError, RecursionError):
        return mutate_bytes(data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _change(holder, rng)
    text = json.dumps(holder[0], indent=1 if rng.random() < 0.1 else None)
    if _MARK.encode("unicode_escape").decode() in text:
        text = text.replace(json.dumps(_MARK), rng.choice(RAW))
    return text.encode(errors="surrogatepass")


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    places, pending = [], [value]
    while pending:
        container = pending.pop()
        keys = range(len(container)) if isinstance(container, list) else container
        for key in keys if isinstance(container, list | dict) else ():
            places.append((container, key))
            pending.append(container[key])
    return places


def _change(holder: list[Any], rng: random.Random) -> None:
    places = places_in(holder)
    container, key = rng.choice(places)
    old, kind = container[key], rng.randrange(8)
    if kind == 0 and isinstance(container, dict):
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[rng.choice((*TEXTS, f"{key}x"))] = container[key] if rng.random() < 0.5 else container.pop(key)
    elif kind in (0, 1) and container is not holder:
        container.insert(key, _copy(rng.choice((old, rng.choice(container)))))
        if rng.random() < 0.5:
            del container[rng.randrange(len(container))]
    elif kind == 2:
        other, name = rng.choice(places)
        container[key] = _copy(other[name]) if _has(other, name) else None
    elif kind == 3 and isinstance(old, list | dict):
        container[key] = [] if isinstance(old, list) else {}
    else:
        container[key] = changed_value(old, rng)


def _has(container: Any, key: Any) -> bool:
    return key < len(container) if isinstance(container, list) else key in container


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value)) if isinstance(value, list | dict) else value


def changed_value(old: Any, rng: random.Random) -> Any:
    """Another plain value: near the old one, at an edge, or of another type."""
    if rng.random() < 0.5:
        if isinstance(old, bool):
            return not old
        if isinstance(old, int):
            return rng.choice((old + 1, old - 1, -old, old * 2, old // 2, rng.choice(INTEGERS), rng.randrange(-9, 99)))
        if isinstance(old, float):
            return rng.choice((-old, old * 2, old / 2, old * 1.0001, rng.choice(FLOATS)))
        if isinstance(old, str):
            return rng.choice((old + rng.choice(TEXTS), rng.choice(TEXTS) + old, old[:-1], old.upper(), old * 2))
    edges: tuple[Any, ...] = (None, True, False, [], {}, [old], {"a": old}, _MARK)
    return rng.choice((rng.choice(edges), rng.choice(INTEGERS), rng.choice(FLOATS), rng.choice(TEXTS)))


def mutate_lines(data: bytes, rng: random.Random) -> bytes:
    """A text with words and lines changed, for tables and YAML."""
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        kind = rng.randrange(5)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, rng.choice(lines))
        elif kind == 2:
            words = lines[at].split(b" ")
            word = rng.randrange(len(words))
            words[word] = json.dumps(changed_value(words[word].decode(errors="replace"), rng)).encode()
            lines[at] = b" ".join(words)
        elif kind == 3:
            spot = rng.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:spot] + rng.choice(_MARKUP) + lines[at][spot:]
        else:
            lines[at] = mutate_bytes(lines[at], rng)
        lines = lines or [b""]
    return b"\n".join(lines)


def mutate_zip(data: bytes, rng: random.Random, member: Callable[[str, bytes, random.Random], bytes]) -> bytes:
    """A zip file with a member changed by ``member(name, content, rng)``, added, renamed or removed; CRCs are right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
        name, content = members[at := rng.randrange(len(members))]
    except Exception:  # any damage at all: the bytes are mutated instead
        return mutate_bytes(data, rng)
    kind = rng.randrange(8)
    if kind == 0:
        del members[at]
    elif kind == 1:
        members.append((rng.choice((name, f"{name}x", "../x.npy", "\ud800", "a" * 300)), content))
    elif kind == 2:
        members[at] = (rng.choice(members)[0], content)
    else:
        members[at] = (name, member(name, content, rng))
    return pack_zip(members, deflate=rng.random() < 0.1)


def pack_zip(members: list[tuple[str, bytes]], *, deflate: bool = False) -> bytes:
    """A zip file of members with fixed time stamps."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name.encode(errors="replace").decode(), date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
            archive.writestr(info, content)
    return buffer.getvalue()


def mutate_npy(name: str, content: bytes, rng: random.Random) -> bytes:
    """One .npy member: the dictionary in its header as text, its version, or its data."""
    if len(content) < 12 or rng.random() < 0.2:
        return mutate_bytes(content, rng)
    (size,) = struct.unpack("<H", content[8:10])
    header, data = content[10 : 10 + size].decode("latin1").strip(), content[10 + size :]
    kind = rng.randrange(6)
    if kind == 0:
        header = header.replace("|i1", rng.choice(_TYPES))
    elif kind == 1:
        numbers = [str(number) for number in INTEGERS]
        spot = header.find("(") + 1
        header = header[:spot] + rng.choice(numbers) + rng.choice((",", "")) + header[spot:]
    elif kind == 2:
        spot, end = header.find("("), header.find(")")
        header = header[:spot] + rng.choice(_SHAPES) + header[end + 1 :]
    elif kind == 3:
        header = header.replace("False", rng.choice(("True", "1", "None")))
    elif kind == 4:
        data = data[: rng.randrange(len(data) + 1)] + bytes(rng.choice((0, 1, 64)))
    else:
        header = mutate_bytes(header.encode(), rng).decode("latin1")
    encoded = header.encode("latin1", errors="replace")
    padded = encoded + b" " * (-(len(encoded) + 11) % 64) + b"\n"
    return content[:8] + struct.pack("<H", len(padded) % 65_536) + padded + data


def mutate_object(root: Any, rng: random.Random, is_record: Callable[[Any], bool]) -> None:
    """Change one to three fields somewhere in an object whose fields are numbers, bytes, lists and records."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        owner = root
        while True:
            names = [name for name in vars(owner) if not name.startswith("_")]
            name = rng.choice(names)
            value = getattr(owner, name)
            children = [item for item in (value if isinstance(value, list) else [value]) if is_record(item)]
            if not children or rng.random() < 0.1:
                break
            owner = rng.choice(children)
        _change_field(owner, name, value, root, rng)


def _change_field(owner: Any, name: str, value: Any, root: Any, rng: random.Random) -> None:
    import numpy as np

    if isinstance(value, bool | int | float):
        near = (value + 1, value - 1, value * 2, rng.choice(INTEGERS), rng.randrange(12))
        new: Any = rng.choice((*near, rng.choice(FLOATS)) if isinstance(value, float) else near)
        setattr(owner, name, type(value)(new) if not isinstance(value, float) else float(new))
    elif isinstance(value, bytes | str):
        text = value if isinstance(value, bytes) else value.encode(errors="replace")
        setattr(owner, name, mutate_bytes(text, rng))
    elif isinstance(value, np.ndarray) and value.size:
        array = value.copy()
        with np.errstate(all="ignore"):
            flat = array.reshape(-1)
            edges = INTEGERS if array.dtype.kind in "iu" else FLOATS
            number = np.array(rng.choice(edges) if rng.random() < 0.5 else rng.randrange(12), dtype=object)
            flat[rng.randrange(array.size)] = number.astype(np.float64).astype(array.dtype)
        grown = np.append(array, array[-1:])
        setattr(owner, name, rng.choice((array, array, array, array[:-1], grown)))
    elif isinstance(value, list) and value:
        changed = list(value)
        at, kind = rng.randrange(len(changed)), rng.randrange(4)
        if kind == 0:
            del changed[at]
        elif kind == 1:
            changed.append(rng.choice(value))
        elif isinstance(changed[at], int | float):
            changed[at] = rng.choice((*INTEGERS[:12], *range(12), changed[at] + 1))
        else:
            changed[at] = rng.choice(value)
        setattr(owner, name, changed)
    else:
        setattr(owner, name, None if value is not None else rng.choice((0, 1, None)))
