"""Read a file of tensors without executing code in it, and without allocating more than the file holds.

A safetensors file is read by :mod:`tinyscene.training.models.safetensors_file`, a file of ``torch.save`` here. Before
PyTorch unpickles, the container is checked: stored without compression, no larger than the file, and its pickle has
only the operations and names that ``torch.save`` writes for tensors in dictionaries. Afterwards each tensor must be
dense, on the CPU, and no larger than its storage: strides of 0 would make 10^12 elements of one. Refuses everything
else, files of PyTorch before 1.6 among them, whose storages have sizes that nothing but the file states, and
dictionaries that contain each other.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tinyscene.runtime.bounded_files import require_file
from tinyscene.runtime.system_errors import system_error

from ..errors import TrainingError
from .safetensors_file import is_safetensors, read_safetensors

EXPECTED = "a checkpoint of plain tensors, as torch.save or safetensors write it"
DEEPEST_DICTIONARY = 5  # levels of dictionaries in which tensors are looked for
MOST_ENTRIES = 200_000  # of all these dictionaries, and
MOST_CHARACTERS = 2**26  # of their names: a dictionary that holds itself has no end
LARGEST_PICKLE = 64 * 2**20  # bytes: names, shapes and whatever the trainer added
MOST_NESTED = 1_000_000  # parts of one tuple: hashing it as a key visits each of them
SHARED_STORAGE = 4  # times the file's size that its tensors may take together
_NAMES = {
    *(
        "collections OrderedDict",
        "collections defaultdict",
        "torch Size",
        "torch device",
        "torch.nn.parameter Parameter",
    ),
    *(f"torch._utils {name}" for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")),
    *(f"torch {name}" for name in ("float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool")),
}
# Operations of a pickle: how many objects each takes from the stack; -1: all above the mark. Each puts one back, but
# those in _SILENT.
_TAKES = {
    **dict.fromkeys(
        ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET", "NONE", "NEWTRUE", "NEWFALSE", "GLOBAL"), 0
    ),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT", "LONG1", "BININT", "BININT1", "BININT2"), 0),
    "TUPLE1": 1,
    "TUPLE2": 2,
    "TUPLE3": 3,
    "TUPLE": -1,
    "BINPERSID": 1,
    "REDUCE": 2,
    "NEWOBJ": 2,
    "APPEND": 1,
    "APPENDS": -1,
    "SETITEM": 2,
    "SETITEMS": -1,
    "BUILD": 1,
}
_SILENT = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD")


def read_container(path: Path) -> Mapping[str, Any]:
    """The dictionary in a file; every tensor in it, at any depth of dictionaries, is whole and on the CPU.

    Raises:
        TrainingError: see the module's refusals.
        RuntimeFailure: no regular file.
    """
    require_file(path, "a checkpoint")
    try:
        if is_safetensors(path):
            return read_safetensors(path)
    except OSError as problem:
        raise system_error(str(path), problem) from problem
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(path, archive)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except TrainingError:
        raise
    except Exception as error:  # zipfile, pickletools and torch raise many types on damaged bytes
        raise _unreadable(path, str(error).splitlines()[0][:120] if str(error) else type(error).__name__) from error
    if not isinstance(content, Mapping):
        raise TrainingError(str(path), "not a checkpoint", expected=EXPECTED, got=type(content).__name__)
    _check_tensors(path, content)
    return content


def _check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    entries, n_bytes = archive.infolist(), path.stat().st_size
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size for entry in entries):
        raise _unreadable(path, "compressed entries, which torch.save does not write")
    if sum(entry.file_size for entry in entries) > n_bytes:
        raise _unreadable(path, "entries that are larger than the file")
    pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
    if len(pickles) != 1 or pickles[0].file_size > LARGEST_PICKLE:
        raise _unreadable(path, f"no data.pkl of at most {LARGEST_PICKLE:,} bytes")
    _check_pickle(path, archive.read(pickles[0]))


def _check_pickle(path: Path, data: bytes) -> None:
    """Follow the pickle on a stack of sizes: for each object, how many parts hashing it visits."""
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[object, int] = {}
    for operation, argument, _ in pickletools.genops(data):
        name = operation.name
        if name in ("PROTO", "STOP"):
            continue
        if name == "MARK":
            marks.append(len(stack))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _TAKES:
            if name == "GLOBAL" and argument not in _NAMES and not _is_storage(str(argument)):
                raise TrainingError(
                    str(path),
                    "contains Python objects, which are never loaded",
                    expected=EXPECTED,
                    got=str(argument)[:80],
                    next_step="ask its author for the state_dict alone",
                )
            start = marks.pop() if _TAKES[name] < 0 else len(stack) - _TAKES[name]
            size = 1 + sum(stack[start:])
            del stack[start:]
            if name not in _SILENT:
                stack.append(size)
            if size > MOST_NESTED and name not in _SILENT:
                raise _unreadable(path, f"a tuple of over {MOST_NESTED:,} parts")
        else:
            raise _unreadable(path, f"operation {name}, which torch.save does not write")


def _is_storage(name: str) -> bool:
    return name.startswith("torch ") and name.endswith("Storage")


def _check_tensors(path: Path, content: Mapping[str, Any]) -> None:
    total = 0
    for key in content:
        if not isinstance(key, str):
            raise _unreadable(path, f"a key that is no text, but {type(key).__name__}")
    for name, tensor in named_tensors(path, content):
        where = f"{path}, tensor '{name[:80]}'"
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise TrainingError(where, "not a dense tensor", got=f"{tensor.layout} on {tensor.device}")
        n_bytes = tensor.numel() * tensor.element_size()
        if n_bytes > tensor.untyped_storage().nbytes():
            got = f"{list(tensor.shape)} of {tensor.untyped_storage().nbytes():,} bytes"
            raise TrainingError(where, "has more elements than data", got=got)
        total += n_bytes
    if total > SHARED_STORAGE * path.stat().st_size:
        raise TrainingError(str(path), "tensors that share their data take many times the file", got=f"{total:,} bytes")


def named_tensors(path: Path, content: Mapping[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in dictionaries of dictionaries, by its keys joined with dots; raises TrainingError.

    A key that is neither text nor an integer appears as its type, so that a name is not always unique.
    """
    level: list[tuple[str, Mapping[Any, Any]]] = [("", content)]
    n_entries = n_characters = 0
    for _ in range(DEEPEST_DICTIONARY):
        inner: list[tuple[str, Mapping[Any, Any]]] = []
        for prefix, dictionary in level:
            n_entries += len(dictionary)
            if n_entries > MOST_ENTRIES:
                raise _unreadable(path, f"dictionaries of over {MOST_ENTRIES:,} entries")
            for key, value in dictionary.items():
                name = prefix + (str(key) if isinstance(key, str | int) else type(key).__name__)
                n_characters += len(name)
                if n_characters > MOST_CHARACTERS:
                    raise _unreadable(path, f"names of over {MOST_CHARACTERS:,} characters")
                if isinstance(value, Tensor):
                    yield name, value
                elif isinstance(value, Mapping):
                    inner.append((f"{name}.", value))
        level = inner


def _unreadable(path: Path, reason: str) -> TrainingError:
    return TrainingError(
        str(path),
        "not a readable checkpoint",
        expected=EXPECTED,
        got=f"{path.stat().st_size:,} bytes, {reason}",
        next_step="get the file again, or ask its author for a state_dict saved with PyTorch 1.6 or later",
    )
