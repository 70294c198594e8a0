"""The front end of a published checkpoint: what the file shows of it, compared with the presets.

A file can have a mel bank, a window, a resampling kernel, a pre-emphasis filter and plain settings. Each gives some
fields of the front end, which must agree. The preset of the network's family is taken where its fields are those of the
file, another preset otherwise; where no preset has them, they replace those of the nearest one. What the file does not
show (hop, logarithm, normalisation) is that preset's, and the note lists it. Refuses tables that no front end of
tinyscene computes, and parts that contradict each other, unless a front end is given.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.log_mel import window
from tinyscene.runtime.spec import LARGEST_FFT, PRESETS, FrontendSpec

from ..errors import TrainingError
from .mel_bank_fit import F64, TOLERANCE, fitted_bank

GIVE_ONE = "give the right one with 'tinyscene import --frontend PRESET|FILE.json'"
LARGEST_BANK = 512 * (LARGEST_FFT // 2 + 1)  # weights
SOURCE_RATES_HZ = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)  # of recordings
LOW_PASS_WIDTH, ROLL_OFF = 6, 0.99  # of torchaudio's resampling kernel, whose length shows both rates
BANK_FIELDS = ("sample_rate_hz", "n_fft", "n_mels", "mel_scale", "f_min_hz", "f_max_hz")
_BANK_NAMES = re.compile(r"(^|[._])(fb|fbank|filter_?bank|melw|mel_?(basis|banks?|fb|filters?|matrix))$")
# Settings by the names that training scripts give them.
SETTINGS = {
    "sample_rate_hz": ("sample_rate", "sampling_rate", "resample_rate", "sr", "sample_rate_hz"),
    "n_fft": ("n_fft", "nfft", "fft_size"),
    "win_length": ("win_length", "window_length", "window_size", "win_size"),
    "hop_length": ("hop_length", "hop_size", "hopsize", "hop"),
    "n_mels": ("n_mels", "num_mels", "mel_bins", "n_mel"),
    "f_min_hz": ("f_min", "fmin", "f_min_hz"),
    "f_max_hz": ("f_max", "fmax", "f_max_hz"),
}
_SETTING_OF = {name: field for field, names in SETTINGS.items() for name in names}
_DEEPEST_SETTING, _LONGEST_NUMBER = 3, 32


@dataclass(frozen=True)
class Shown:
    """Fields of a front end that one part of the file shows; ``part`` is its name with its size."""

    part: str
    fields: dict[str, object]


def chosen_frontend(
    path: Path, tensors: Mapping[str, Tensor], content: Mapping[str, Any], family: FrontendSpec, given: str | None
) -> tuple[FrontendSpec, str, set[str]]:
    """The front end, a note about its origin, and the names of the tensors that belong to it.

    Args:
        tensors: those beside the networks.
        content: the file's dictionaries, with plain settings.
        family: the front end of the published networks of this family.
        given: a preset or a JSON file to take instead.

    Raises:
        TrainingError: see the module's refusals.
    """
    tables = {name: table for name, tensor in tensors.items() if (table := _table_of(name, tensor)) is not None}
    if given is not None:
        from tinyscene.runtime.model import read_frontend

        return read_frontend(given), _given_note(path, tensors, tables, content, given), set(tables)
    shown = _all_shown(path, tensors, tables, content)
    fields = _agreed(path, shown)
    _check_resampling(path, tensors, tables, fields.get("sample_rate_hz", family.sample_rate_hz))
    if not shown:
        return family, f"the file shows no front end: '{family.name}' is assumed; {GIVE_ONE}", set(tables)
    parts = ", ".join(each.part for each in shown)
    for spec in (family, *PRESETS.values()):
        if _differing(spec, fields) == []:
            return spec, f"front end '{spec.name}', as shown by {parts}; {_unshown(spec, fields)}", set(tables)
    spec = _new_frontend(path, family, fields, parts)
    described = ", ".join(f"{name} {_figure(value)}" for name, value in fields.items())
    note = f"a front end of its own, as shown by {parts}: {described}; {_unshown(spec, fields)}"
    return spec, note, set(tables)


def _table_of(name: str, tensor: Tensor) -> str | None:
    """Which table of a front end a tensor is, by its name, or for a mel bank also by its content."""
    last = name.rpartition(".")[2].lower()
    if not tensor.is_floating_point():
        return None
    if "emphasis" in last and tensor.numel() <= 2:
        return "pre-emphasis"
    if "window" in last and tensor.ndim == 1:
        return "window"
    if last == "kernel" and tensor.ndim == 3 and tensor.shape[1] == 1:
        return "kernel"
    if tensor.ndim >= 2 and (_BANK_NAMES.search(last) or _looks_like_a_bank(tensor)):
        return "bank"
    return None


def _looks_like_a_bank(tensor: Tensor) -> bool:
    """No negative weight, mostly zeros, and the bands' peaks in ascending order."""
    if tensor.ndim != 2 or min(tensor.shape) < 8 or tensor.numel() > LARGEST_BANK:
        return False
    if not float(tensor.min()) >= 0:  # the usual weight, before anything is copied
        return False
    bank = _bands_first(tensor)
    if not np.isfinite(bank).all() or not 0 < (bank > 0).mean() < 0.5:
        return False
    peaks = bank.argmax(axis=1)[bank.max(axis=1) > 0]
    return bool(len(peaks) >= 8 and (np.diff(peaks) >= 0).all() and peaks[-1] > peaks[0])


def _bands_first(tensor: Tensor) -> F64:
    """The bank as (bands, bins): it has more bins than bands; Kaldi's lacks the last bin, whose weight is 0."""
    bank: F64 = tensor.detach().double().numpy()
    bank = bank.T if bank.shape[0] > bank.shape[1] else bank
    return bank if bank.shape[1] % 2 else np.pad(bank, ((0, 0), (0, 1)))


def _all_shown(
    path: Path, tensors: Mapping[str, Tensor], tables: Mapping[str, str], content: Mapping[str, Any]
) -> list[Shown]:
    readers = {"bank": _bank, "window": _window, "pre-emphasis": _pre_emphasis}
    shown = [
        readers[table](path, name, tensors[name]) for table in readers for name, kind in tables.items() if kind == table
    ]
    return [*shown, *_settings(content)]


def _bank(path: Path, name: str, tensor: Tensor) -> Shown:
    where, size = _where(path, name), " x ".join(map(str, tensor.shape))
    if tensor.ndim != 2 or tensor.numel() > LARGEST_BANK or min(tensor.shape) < 1 or max(tensor.shape) < 9:
        expected = f"bins x bands of at most {LARGEST_BANK:,} weights"
        raise TrainingError(where, "a mel bank of another size", expected=expected, got=size, next_step=GIVE_ONE)
    bank = _bands_first(tensor)
    if not np.isfinite(bank).all():
        raise TrainingError(where, "a mel bank that is not finite", next_step=GIVE_ONE)
    # Weights of 0.5 to 1 in the tensor's type are off by a quarter of its step at 1.
    fitted = fitted_bank(bank, TOLERANCE + torch.finfo(tensor.dtype).eps / 4)
    if isinstance(fitted, str):
        expected = "the HTK or Kaldi mel bank of a front end, with triangles of height 1"
        what, got = "a mel bank that no front end computes", f"{size}: {fitted}"
        raise TrainingError(where, what, expected=expected, got=got, next_step=GIVE_ONE)
    return Shown(f"the mel bank '{_short(name)}' ({size})", {field: getattr(fitted, field) for field in BANK_FIELDS})


def _window(path: Path, name: str, tensor: Tensor) -> Shown:
    where, samples = _where(path, name), tensor.numel()
    if 4 <= samples <= LARGEST_FFT and samples % 2 == 0:
        values = tensor.detach().double().numpy()
        for kind in ("hann_periodic", "hann_symmetric"):
            spec = replace(PRESETS["passt"], n_fft=max(samples, 16), win_length=samples, window=kind)
            if np.abs(window(spec) - values).max() <= TOLERANCE / 10 + torch.finfo(tensor.dtype).eps / 4:
                return Shown(f"the window '{_short(name)}' ({samples:,})", {"win_length": samples, "window": kind})
    expected = f"a Hann window of an even length, at most {LARGEST_FFT:,} samples"
    raise TrainingError(
        where, "a window that no front end has", expected=expected, got=f"{samples:,} samples", next_step=GIVE_ONE
    )


def _pre_emphasis(path: Path, name: str, tensor: Tensor) -> Shown:
    """A filter ``[-a, 1]``, or ``a`` itself."""
    taps = tensor.detach().double().flatten().tolist()
    factor = -taps[0] if len(taps) == 2 and taps[1] == 1 else taps[0] if len(taps) == 1 else math.nan
    if not 0 <= factor <= 1:
        raise TrainingError(
            _where(path, name), "a pre-emphasis that no front end has", expected="[-a, 1]", got=taps, next_step=GIVE_ONE
        )
    return Shown(f"the pre-emphasis '{_short(name)}'", {"pre_emphasis": round(factor, 4)})


def _settings(content: Mapping[str, Any]) -> list[Shown]:
    """Plain numbers in the file's dictionaries under the names of ``SETTINGS``, at any of their first levels."""
    shown = []
    for name, value in _plain(content, "", 0):
        last = name.rpartition(".")[2].lower()
        number = _number(value)
        if last in _SETTING_OF and number is not None:
            field = _SETTING_OF[last]
            whole = number if field in ("f_min_hz", "f_max_hz") else int(number)
            if whole == number:
                shown.append(Shown(f"the setting '{_short(name)}'", {field: whole}))
    return shown


def _plain(content: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        if not isinstance(key, str):
            continue
        if isinstance(value, Mapping) and depth < _DEEPEST_SETTING:
            yield from _plain(value, f"{prefix}{key[:80]}.", depth + 1)
        elif isinstance(value, int | float | str):
            yield f"{prefix}{key[:80]}", value


def _number(value: object) -> float | None:
    """A number, also one written as text, as the metadata of safetensors files have it."""
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        return None
    if isinstance(value, str) and len(value) > _LONGEST_NUMBER:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _agreed(path: Path, shown: list[Shown]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for each in shown:
        for name, value in each.fields.items():
            if name in fields and not _same(fields[name], value):
                raise TrainingError(
                    str(path),
                    f"two parts of the front end contradict each other in {name}",
                    expected=f"{_figure(fields[name])} as shown by {origin[name]}",
                    got=f"{_figure(value)} as shown by {each.part}",
                    next_step=GIVE_ONE,
                )
            fields.setdefault(name, value)
            origin.setdefault(name, each.part)
    return fields


def _check_resampling(path: Path, tensors: Mapping[str, Tensor], tables: Mapping[str, str], rate_hz: int) -> None:
    """Require that each resampling kernel leads to the front end's rate from one that recordings have."""
    for name in (name for name, table in tables.items() if table == "kernel"):
        new, length = tensors[name].shape[0], tensors[name].shape[2]
        sources = [rate for rate in SOURCE_RATES_HZ if _kernel_shape(rate, rate_hz) == (new, length)]
        if not sources:
            pairs = [
                f"{source:,} to {to:,} Hz"
                for source in SOURCE_RATES_HZ
                for to in SOURCE_RATES_HZ
                if _kernel_shape(source, to) == (new, length)
            ]
            expected = f"one that resamples to {rate_hz:,} Hz"
            got = f"{new} x 1 x {length}, {' or '.join(pairs[:4]) or 'of rates that recordings do not have'}"
            raise TrainingError(
                _where(path, name), "another resampling kernel", expected=expected, got=got, next_step=GIVE_ONE
            )


def _kernel_shape(source_hz: int, to_hz: int) -> tuple[int, int]:
    """Phases and taps of torchaudio's kernel."""
    common = math.gcd(source_hz, to_hz)
    old, new = source_hz // common, to_hz // common
    return new, 2 * math.ceil(LOW_PASS_WIDTH * old / (min(old, new) * ROLL_OFF)) + old


def _new_frontend(path: Path, family: FrontendSpec, fields: Mapping[str, Any], parts: str) -> FrontendSpec:
    """The file's fields on the preset of the same mel scale that differs least."""
    near = [spec for spec in (family, *PRESETS.values()) if spec.mel_scale == fields.get("mel_scale", family.mel_scale)]
    base = min(near, key=lambda spec: len(_differing(spec, fields)))
    values = {**asdict(base), **fields, "name": "imported"}
    values["win_length"] = fields.get("win_length", min(base.win_length, values["n_fft"]))
    values["f_max_hz"] = fields.get("f_max_hz", min(base.f_max_hz, values["sample_rate_hz"] / 2))
    values["clip_samples"] = round(base.clip_samples * values["sample_rate_hz"] / base.sample_rate_hz)
    try:
        return FrontendSpec(**values)
    except TinysceneError as problem:
        what = f"a front end that tinyscene does not compute, as shown by {parts}"
        raise TrainingError(
            f"{path}, {problem.where}", what, expected=problem.expected, got=problem.got, next_step=GIVE_ONE
        ) from None


def _differing(spec: FrontendSpec, fields: Mapping[str, Any]) -> list[str]:
    return [name for name, value in fields.items() if not _same(getattr(spec, name), value)]


def _same(one: object, other: object) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)
    return one == other


def _unshown(spec: FrontendSpec, fields: Mapping[str, Any]) -> str:
    names = [name for name in asdict(spec) if name not in fields and name != "name"]
    return "assumed: " + ", ".join(f"{name} {_figure(getattr(spec, name))}" for name in names)


def _given_note(
    path: Path, tensors: Mapping[str, Tensor], tables: Mapping[str, str], content: Mapping[str, Any], given: str
) -> str:
    """That a front end was given, and how the file's own parts differ from it."""
    from tinyscene.runtime.model import read_frontend

    try:
        shown = _all_shown(path, tensors, tables, content)
        fields = _agreed(path, shown)
    except TinysceneError as problem:
        return f"front end '{given}' as given; the file has {problem.what}"
    differing = [f"{name} {_figure(fields[name])}" for name in _differing(read_frontend(given), fields)]
    return f"front end '{given}' as given" + (f"; the file shows {', '.join(differing)}" if differing else "")


def _figure(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _where(path: Path, name: str) -> str:
    return f"{path}, tensor '{_short(name)}'"


def _short(name: str) -> str:
    return name if len(name) <= 80 else f"...{name[-77:]}"
