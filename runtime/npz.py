"""Arrays as an .npz file, or one as .npy: written so that equal content gives equal bytes, read within declared bounds.

The header of each member is compared with what is declared before any array is allocated, so that a small file cannot
expand without limit. Refuses members that are missing or not declared, duplicate or encrypted, of another type, shape
or order, arrays of Python objects, and files whose sizes or checksums are wrong.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .errors import RuntimeFailure

Arrays = dict[str, npt.NDArray[Any]]

LARGEST_ARRAYS_BYTES = 2**28  # of one file, unpacked
MOST_MEMBERS = 8192
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest timestamp of the zip format
_SUFFIX = ".npy"
_LONGEST_HEADER_BYTES = 12 + 10_000  # NumPy's own limit
_ENCRYPTED = 0x1
_PLAIN_KINDS = "biuf"  # dtype.kind of numbers and truth values
T = TypeVar("T")


@dataclass(frozen=True)
class ArrayHeader:
    """Type and shape of one array; ``dtype`` as NumPy writes it: ``int8``, ``int32``, ``float32``."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def pack_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Arrays as an .npz file whose bytes depend only on names and values."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}{_SUFFIX}", date_time=_EPOCH)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, member.getvalue())
    return buffer.getvalue()


def unpack_arrays(data: bytes, where: str) -> Arrays:
    """All arrays of numbers in an .npz file, at most :data:`LARGEST_ARRAYS_BYTES`; raises RuntimeFailure."""
    file = ArrayFile(data, where)
    return file.read(file.headers)


def unpack_array(data: bytes, where: str, next_step: str = "") -> npt.NDArray[Any]:
    """The array of numbers in an .npy file, in C order; raises RuntimeFailure."""
    start = io.BytesIO(data)
    try:
        shape, fortran_order, dtype = _npy_header(start)
        expected, got = math.prod(shape) * dtype.itemsize, len(data) - start.tell()
        if dtype.kind not in _PLAIN_KINDS or len(shape) > 32 or expected != got:
            raise ValueError(f"{got} bytes of {dtype} {shape}")
    except Exception as problem:  # NumPy's reader raises many types on damaged bytes
        reason = str(problem).partition("\n")[0][:200] or type(problem).__name__
        raise RuntimeFailure(where, "not an .npy file of numbers", got=reason, next_step=next_step) from None
    values = np.frombuffer(data, dtype, offset=start.tell())
    return np.ascontiguousarray(values.reshape(shape, order="F" if fortran_order else "C"))


class ArrayFile:
    """An .npz file whose headers are read and whose arrays are not. ``headers``: by name.

    Args:
        where: the file, for messages.

    Raises:
        RuntimeFailure: see the module's refusals.
    """

    def __init__(self, data: bytes, where: str, next_step: str = "") -> None:
        self._where, self._next_step = where, next_step
        self._archive = self._parsed(lambda: zipfile.ZipFile(io.BytesIO(data)))
        self._members: dict[str, zipfile.ZipInfo] = {}
        if len(self._archive.infolist()) > MOST_MEMBERS:
            raise self._refusal("too many arrays", expected=f"at most {MOST_MEMBERS:,}")
        for member in self._archive.infolist():
            name = member.filename.removesuffix(_SUFFIX)
            if name == member.filename or name in self._members or member.flag_bits & _ENCRYPTED:
                raise self._refusal("not a file of plain arrays", got=f"member {member.filename[:80]!r}")
            self._members[name] = member
        self.headers = {name: self._header(name) for name in self._members}

    def read(self, declared: Mapping[str, ArrayHeader]) -> Arrays:
        """The arrays, exactly those declared, in the order of the file; raises RuntimeFailure."""
        for name in [*declared, *self.headers]:
            expected, got = declared.get(name), self.headers.get(name)
            if expected != got:
                what = f"array {name[:80]!r} is not as declared"
                raise self._refusal(what, expected=_words(expected), got=_words(got))
        n_bytes = sum(header.n_bytes for header in declared.values())
        if n_bytes > LARGEST_ARRAYS_BYTES:
            raise self._refusal("too large", expected=f"at most {LARGEST_ARRAYS_BYTES:,} bytes", got=f"{n_bytes:,}")
        return {name: self._array(name, header) for name, header in self.headers.items()}

    def _header(self, name: str) -> ArrayHeader:
        start = io.BytesIO(self._content(name, _LONGEST_HEADER_BYTES))
        shape, fortran_order, dtype = self._parsed(lambda: _npy_header(start))
        if dtype.kind not in _PLAIN_KINDS or not dtype.isnative or fortran_order or len(shape) > 32:
            got = f"array {name[:80]!r} of {dtype} {shape}"
            raise self._refusal("not a file of plain arrays", expected="numbers in C order", got=got)
        return ArrayHeader(dtype.name, shape)

    def _array(self, name: str, header: ArrayHeader) -> npt.NDArray[Any]:
        content = self._content(name, header.n_bytes + _LONGEST_HEADER_BYTES)
        start = io.BytesIO(content)
        self._parsed(lambda: _npy_header(start))
        at = start.tell()
        n_bytes = len(content) - at
        if n_bytes != header.n_bytes or len(content) != self._members[name].file_size:
            raise self._refusal(f"array {name[:80]!r} has the wrong size", expected=header.n_bytes, got=n_bytes)
        return np.frombuffer(content, header.dtype, offset=at).reshape(header.shape).copy()

    def _content(self, name: str, limit_bytes: int) -> bytes:
        """The first bytes of a member; reading it to its end verifies the checksum."""

        def read() -> bytes:
            with self._archive.open(self._members[name]) as member:
                return member.read(limit_bytes)

        return self._parsed(read)

    def _parsed(self, parse: Callable[[], T]) -> T:
        """A step of the zip and NumPy readers, which raise many types of exceptions on damaged bytes."""
        try:
            return parse()
        except Exception as problem:
            got = str(problem).partition("\n")[0][:200] or type(problem).__name__
            raise self._refusal("not a file of plain arrays", got=got) from None

    def _refusal(self, what: str, *, expected: object = None, got: object = None) -> RuntimeFailure:
        return RuntimeFailure(self._where, what, expected=expected, got=got, next_step=self._next_step)


def _npy_header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and type; the file is left at the first value."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, fortran_order, dtype = read(file)
    # Without elements, other axes may have any length, which NumPy refuses later and otherwise.
    if any(size < 0 for size in shape) or math.prod(max(size, 1) for size in shape) > LARGEST_ARRAYS_BYTES:
        raise ValueError(f"shape {shape}"[:200])
    return shape, fortran_order, dtype


def _words(header: ArrayHeader | None) -> str:
    return "no such array" if header is None else f"{header.dtype} {header.shape}"
