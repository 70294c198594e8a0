"""Validate the bytes of an ONNX file before anything parses them: every length, tensor and nested graph.

Walks the protobuf messages of the file itself, so that no library sees a tensor whose declared sizes are not those of
its data, or opens a file that the model names. Refuses weights in other files (``external_data``, which may name any
path), sizes that are negative or beyond :data:`LARGEST_SIZE`, tensors whose bytes are not those of their type and
shape, singular parts that occur twice (protobuf would merge them), functions of the file's own, and graphs nested
deeper than :data:`MOST_NESTED`. Values of attributes are left to the reader.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import GET_ANOTHER, RuntimeFailure, TinysceneError

LARGEST_SIZE = 2**31 - 1  # elements of a tensor, and bytes of a file, which is protobuf's limit
MOST_NESTED = 8  # graphs in attributes of nodes, as in If and Loop
MOST_NODES = 65_536
# Bits of an element by the number of its type; strings and unknown types have none.
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16}
_BITS |= {17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4}
_DIMS, _DATA_TYPE, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 8, 9, 13, 14  # fields of TensorProto
_REFERENCE = 21  # of an attribute: the name of one of the function that it stands in
_TYPED = (4, 5, 6, 7, 10, 11)  # fields with data by type
_ONE_FILE = "save it as one file: onnx.save_model(onnx.load(FILE), NEW_FILE, save_as_external_data=False)"
_INLINE = "inline them: onnx.save(inline_local_functions(onnx.load(FILE)), NEW_FILE), which onnx.inliner has"
# Operators that an integer graph is written with; ONNX Runtime in this process gets files of these only.
PLAIN_OPERATORS = frozenset(
    [
        "Add",
        "AveragePool",
        "Cast",
        "Concat",
        "Conv",
        "ConvTranspose",
        "DequantizeLinear",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "LogSoftmax",
        "LpNormalization",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mul",
        "PRelu",
        "Pad",
        "QuantizeLinear",
        "ReduceMax",
        "ReduceMin",
        "Relu",
        "Reshape",
        "Resize",
        "Slice",
        "Softmax",
        "Sub",
        "Transpose",
    ]
)


@dataclass(frozen=True)
class OnnxSummary:
    """The operators of a file as (domain, name), nested graphs included; the default domain is the empty text."""

    operators: frozenset[tuple[str, str]]


def require_plain(summary: OnnxSummary, where: str) -> None:
    """Refuse operators that no integer graph is written with; RuntimeFailure."""
    for domain, kind in sorted(summary.operators):
        if domain or kind not in PLAIN_OPERATORS:
            expected, got = ", ".join(sorted(PLAIN_OPERATORS)), f"{domain}.{kind}" if domain else kind
            raise RuntimeFailure(where, "not an operator of an integer graph", expected=expected, got=got)


class _Unsound(Exception):
    """A fault of the file; ``next_step``: of a sound file that is beyond a limit, what its owner can do."""

    def __init__(self, place: str, what: str, expected: str = "", got: str = "", next_step: str = "") -> None:
        super().__init__(place, what)
        self.place, self.what, self.expected, self.got, self.next_step = place, what, expected, got, next_step


@dataclass(frozen=True)
class _Field:
    """One field of a message: its number and its value, an integer or the bounds of its bytes."""

    number: int
    value: int = 0
    start: int = 0
    end: int = 0
    is_bytes: bool = False


def read_summary(data: bytes, where: str, error: type[TinysceneError] = RuntimeFailure) -> OnnxSummary:
    """Validate a file and return what it consists of.

    Raises:
        error: see the module's refusals; ``where`` names the file.
    """
    try:
        if len(data) > LARGEST_SIZE:
            raise _Unsound("", "too large", f"{LARGEST_SIZE:,} bytes at most", f"{len(data):,}")
        return OnnxSummary(frozenset(_Walk(data).operators))
    except _Unsound as problem:
        raise error(
            f"{where}, {problem.place}" if problem.place else where,
            f"{'limit' if problem.next_step else 'not a readable ONNX file'}: {problem.what}",
            expected=problem.expected or None,
            got=problem.got or None,
            next_step=problem.next_step or GET_ANOTHER,
        ) from None


class _Walk:
    """One pass over a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.operators: set[tuple[str, str]] = set()
        self._nodes = 0
        model = list(self._fields(0, len(data), "model"))
        graph = self._only(model, 7, "model, graph")
        if graph is None:
            raise _Unsound("", "no graph", "", f"{len(data):,} bytes")
        if any(field.number == 25 for field in model):
            raise _Unsound("model", "functions of its own are not supported", "operators only", next_step=_INLINE)
        if any(field.number == 20 for field in model):
            what, expected = "training information is not supported", "a graph for inference"
            raise _Unsound("model", what, expected, next_step="export the network for inference")
        self._graph(graph, "graph", 0)

    def _graph(self, graph: _Field, place: str, depth: int) -> None:
        if depth > MOST_NESTED:
            raise _Unsound(place, f"graphs nested deeper than {MOST_NESTED}")
        nodes = 0
        for field in self._fields(graph.start, graph.end, place):
            if field.number == 1:
                self._node(field, f"{place}, node {nodes}", depth)
                nodes += 1
            elif field.number == 5:
                self._tensor(field, f"{place}, initializer")
            elif field.number == 15:
                self._sparse(field, f"{place}, sparse initializer")

    def _node(self, node: _Field, place: str, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise _Unsound("graph", "too many nodes", f"{MOST_NODES:,} at most")
        fields = list(self._fields(node.start, node.end, place))
        kind, domain = (self._text(self._only(fields, number, place)) for number in (4, 7))
        self.operators.add((domain, kind))
        for field in fields:
            if field.number == 5:
                self._attribute(field, f"{place} ({kind[:40]}), attribute", depth)

    def _attribute(self, attribute: _Field, place: str, depth: int) -> None:
        fields = list(self._fields(attribute.start, attribute.end, place))
        for number in (5, 6, 22):
            self._only(fields, number, place)
        for field in fields:
            if field.number == _REFERENCE and field.end > field.start:
                raise _Unsound(place, "refers to an attribute of a function", "a value")
            if field.number in (5, 10):
                self._tensor(field, place)
            elif field.number in (6, 11):
                self._graph(field, f"{place}, graph", depth + 1)
            elif field.number in (22, 23):
                self._sparse(field, place)

    def _sparse(self, sparse: _Field, place: str) -> None:
        fields = list(self._fields(sparse.start, sparse.end, place))
        for number in (1, 2):
            part = self._only(fields, number, place)
            if part is not None:
                self._tensor(part, place)
        self._sizes([f for f in fields if f.number == 3], place)

    def _tensor(self, tensor: _Field, place: str) -> None:
        """The declared sizes against the bytes of the data, before anything is allocated."""
        fields = list(self._fields(tensor.start, tensor.end, place))
        place = f"{place} '{self._text(self._only(fields, _NAME, place))[:80]}'"
        raw, location, kind = (self._only(fields, number, place) for number in (_RAW, _LOCATION, _DATA_TYPE))
        if (location is not None and location.value != 0) or any(field.number == _EXTERNAL for field in fields):
            what = "its data are in another file, which is never read"
            raise _Unsound(place, what, "data in this file", next_step=_ONE_FILE)
        elements = self._sizes([f for f in fields if f.number == _DIMS], place)
        bits = _BITS.get(0 if kind is None else kind.value)
        if raw is not None:
            stored = raw.end - raw.start
            if bits is None or stored != -(-elements * bits // 8):
                expected = "a type of fixed size" if bits is None else f"{-(-elements * bits // 8):,} bytes"
                raise _Unsound(place, "its data have another size", expected, f"{stored:,} bytes")
            return
        typed = [field for field in fields if field.number in _TYPED]
        stored = sum(field.end - field.start if field.is_bytes else 8 for field in typed)
        strings = sum(1 for field in typed if field.number == 6)
        if elements > 2 * stored + strings:  # an element takes at least a byte, two of 4 bits do
            raise _Unsound(place, "its data have another size", f"{elements:,} elements", f"{stored:,} bytes")

    def _sizes(self, dims: list[_Field], place: str) -> int:
        """The number of elements; sizes are packed or one by one."""
        sizes: list[int] = []
        for field in dims:
            if not field.is_bytes:
                sizes.append(field.value)
                continue
            at = field.start
            while at < field.end:
                value, at = self._varint(at, field.end, place)
                sizes.append(value)
        if len(sizes) > 64 or any(size > LARGEST_SIZE for size in sizes) or math.prod(sizes) > LARGEST_SIZE:
            got = ", ".join(str(size - 2**64 if size >= 2**63 else size) for size in sizes[:8])
            raise _Unsound(place, "sizes out of range", f"0 to {LARGEST_SIZE:,} elements", f"({got})")
        return math.prod(sizes)

    def _fields(self, at: int, end: int, place: str) -> Iterator[_Field]:
        while at < end:
            key, at = self._varint(at, end, place)
            number, kind = key >> 3, key & 7
            if kind == 0:
                value, at = self._varint(at, end, place)
                yield _Field(number, value)
                continue
            fixed = {1: 8, 5: 4}.get(kind)
            size = fixed
            if kind == 2:
                size, at = self._varint(at, end, place)
            if size is None or number == 0:
                raise _Unsound(place, "not protobuf", "", f"{len(self._data):,} bytes")
            if at + size > end:
                raise _Unsound(place, "a part is longer than the file", "", f"{size:,} bytes at {at:,}")
            yield _Field(number, 0, at, at + size, is_bytes=True)
            at += size

    def _varint(self, at: int, end: int, place: str) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                break
            byte = self._data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value & (2**64 - 1), at
        raise _Unsound(place, "not protobuf", "", f"{len(self._data):,} bytes")

    def _only(self, fields: list[_Field], number: int, place: str) -> _Field | None:
        """The field of this number; protobuf would merge several of them."""
        found = [field for field in fields if field.number == number]
        if len(found) > 1:
            raise _Unsound(place, f"field {number} occurs more than once", "once", str(len(found)))
        return found[0] if found else None

    def _text(self, field: _Field | None) -> str:
        return "" if field is None else self._data[field.start : field.end].decode(errors="replace")
