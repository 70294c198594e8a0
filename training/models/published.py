"""A published checkpoint of CP-Mobile or CP-ResNet, in whatever wrapper it was saved.

The network is found by structure (:mod:`.network_search`), its sizes by shapes (:mod:`.inferred_config`), and its front
end by what the file holds of one (:mod:`.stored_frontend`). What is ignored or assumed is returned as notes. Weights of
any floating type become float32. Refuses what these modules refuse, and weights that are not of the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tinyscene.runtime.errors import GET_ANOTHER
from tinyscene.runtime.spec import FrontendSpec, preset

from ..errors import TrainingError
from .checkpoint_file import named_tensors
from .config import ModelConfig
from .inferred_config import inferred_config
from .network_search import COUNTER, Found, find_network, is_copy, same_weights, shapes_of
from .stored_frontend import chosen_frontend

TAU22_LABELS = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)
LONGEST_LABEL = 64  # characters
_LABEL_KEY = re.compile("label|class|scene")
NAMED = 3  # companions that a note names; the others are counted


@dataclass(frozen=True, eq=False)
class Published:
    """Weights under the names of the network that ``config`` builds, and what was assumed or ignored."""

    config: ModelConfig
    state: dict[str, Tensor]
    frontend: FrontendSpec
    labels: tuple[str, ...]
    notes: tuple[str, ...]


def read_published(
    path: Path,
    content: Mapping[str, Any],
    *,
    prefix: str | None = None,
    frontend: str | None = None,
    labels: Path | None = None,
) -> Published:
    """The network of a file's dictionaries.

    Args:
        prefix: of the network to take, where the file holds several.
        frontend: a preset's name or a JSON file, instead of the front end that the file shows.
        labels: a text file with one label per line, instead of those that the file shows.

    Raises:
        TrainingError: see the module's refusals.
    """
    tensors = tensors_by_name(path, content)
    found, others = find_network(path, tensors, prefix)
    config, assumed = inferred_config(path, found)
    state = _float32(found, shapes_of(config))
    networks = {other.prefix + name for other in (found, *others) for name in other.state}
    beside = {name: tensor for name, tensor in tensors.items() if name not in networks}
    own = beside if is_copy(found.prefix) else {name: t for name, t in beside.items() if not is_copy(name)}
    spec, note, tables = chosen_frontend(path, own, content, _usual_frontend(config), frontend)
    names, source = _labels(content, config.n_classes, labels)
    notes = [
        *_other_networks(found, others),
        *_companions(found, [name for name in beside if name not in tables], content),
        f"assumed, as no tensor shows it: {assumed}",
        f"labels: {source}",
        note,
    ]
    return Published(config, state, spec, names, tuple(notes))


def tensors_by_name(path: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Every tensor by its keys joined with dots."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in named_tensors(path, content):
        if tensors.setdefault(name, tensor) is not tensor:
            raise TrainingError(str(path), "two tensors of one name", got=f"'{name[:120]}'", next_step=GET_ANOTHER)
    return tensors


def _float32(found: Found, shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as the network holds them; counters, which inference does not use, are integers or left out."""
    counters = {name: torch.zeros((), dtype=torch.int64) for name in shapes if name.endswith(COUNTER)}
    kinds = {name: torch.int64 if name.endswith(COUNTER) else torch.float32 for name in found.state}
    return counters | {n: t.to(kinds[n]) if t.is_floating_point() else t for n, t in found.state.items()}


def _usual_frontend(config: ModelConfig) -> FrontendSpec:
    """The front end of the published networks of this kind."""
    if config.arch == "cp_resnet":
        return preset("cpresnet")
    return preset("cpm23" if config.grn else "dcase25")


def _labels(content: Mapping[Any, Any], n_classes: int, given: Path | None) -> tuple[tuple[str, ...], str]:
    """The labels and where they are from: given, a list of as many texts under a key such as ``label_ids``, assumed."""
    if given is not None:
        from tinyscene.runtime.model import read_labels

        return read_labels(given, n_classes), f"those of '{given}'"
    stored = [*_label_lists(content), *(each for v in content.values() if _is_text_map(v) for each in _label_lists(v))]
    for key, texts in stored:
        if len(set(texts)) == len(texts) == n_classes:
            return texts, f"those of the file's '{key[:80]}'"
    if n_classes == len(TAU22_LABELS):
        return TAU22_LABELS, "assumed, the ten scenes of TAU22 in alphabetical order; --labels FILE gives others"
    return tuple(f"class_{i}" for i in range(n_classes)), "numbered, as the file has none; --labels FILE gives them"


def _label_lists(content: Mapping[Any, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for key, value in content.items():
        named = isinstance(key, str) and _LABEL_KEY.search(key.lower())
        if named and isinstance(value, list | tuple) and all(map(_is_label, value)):
            yield key, tuple(value)


def _is_label(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip()) and len(value) <= LONGEST_LABEL


def _is_text_map(value: object) -> bool:
    return isinstance(value, Mapping) and not any(isinstance(each, Tensor) for each in value.values())


def _other_networks(found: Found, others: list[Found]) -> list[str]:
    others = [other for other in others if not same_weights(other, found)]
    if not others:
        return []
    names = [f"'{other.prefix[-60:]}' ({other.title})" for other in others[:NAMED]]
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return [
        f"the network under '{found.prefix[-60:]}' is taken, those under {', '.join(names)}{more} are ignored; "
        "'tinyscene import --prefix NAME' takes another"
    ]


def _companions(found: Found, beside: list[str], content: Mapping[str, Any]) -> list[str]:
    """One note about what is no part of the network: tensors, and states of the training in lists."""
    lists = [key for key, value in content.items() if isinstance(value, list | tuple) and value]
    names = [name.removeprefix(found.prefix) or name for name in beside] + lists
    if not names:
        return []
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    shown = ", ".join(f"'{name[-60:]}'" for name in names[:NAMED])
    return [f"ignored, as no part of the {found.title}: {shown}{more}"]
