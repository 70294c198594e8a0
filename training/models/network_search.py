"""The network in a checkpoint: the prefix under which all tensors of a known network stand, whatever the prefix is.

Every wrapper puts its own words before the names (``model._orig_mod.``, ``multi_device_model.base_model.``, a
dictionary ``{"model": ...}``), and other tensors beside the network. Only the ends of the names are compared, so that
no list of wrappers is needed. Of several whole networks with different weights, copies are left out: those under a word
of ``COPIES`` (a teacher, a moving average, one device's fine-tuned copy). Refuses a file without a whole network,
a network with further tensors inside it, and several networks of which none is a copy, unless one is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from ..errors import TrainingError
from .build import build_model
from .config import MODELS, ModelConfig

EXPECTED_NET = "a CP-Mobile, a CP-ResNet, or a tinyscene checkpoint"
COPIES = ("teacher", "ema", "swa", "avg", "average", "averaged", "momentum", "target", "shadow", "device_models")
MOST_NETWORKS = 64  # in one file; one for each of the nine devices is common
COUNTER = "num_batches_tracked"  # of BatchNorm, which inference does not use
_LONGEST = 1 + max(len(name.split(".")) for name in ("stages.s1.b1.block.0.0.weight", "stage1.block1.shortcut.bn.bias"))
_BLOCK = re.compile(r"stage([123])\.block([1-9][0-9]?)\.")
_FAMILIES = {
    "cp_mobile": ("in_c.", "stages.", "feed_forward."),  # its own modules; others under the same prefix are companions
    "cp_resnet": ("in_c.", "stage1.", "stage2.", "stage3.", "feed_forward."),
}


@dataclass
class Found:
    """A network's tensors by the names inside it; ``family`` is the ``arch`` of its configuration."""

    family: str
    prefix: str
    state: dict[str, Tensor] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return {"cp_mobile": "CP-Mobile", "cp_resnet": "CP-ResNet"}.get(self.family, self.family)

    def template(self) -> ModelConfig:
        """A small configuration whose network has tensors of these names and numbers of axes."""
        if self.family == "cp_mobile":
            grn = any(".after_block_norm." in name for name in self.state)
            return MODELS["cpm23-8"].model_copy(update={"grn": grn})
        counts = {"1": 1, "2": 1, "3": 1}
        for name in self.state:
            if block := _BLOCK.match(name):
                counts[block[1]] = max(counts[block[1]], int(block[2]))
        blocks = tuple(min(n, 64) for n in counts.values())
        return MODELS["cpresnet-33k"].model_copy(update={"blocks_per_stage": blocks})

    def missing(self) -> list[str]:
        """Tensors that the network needs: counters can be absent, and shortcuts depend on the channels."""
        names = shapes_of(self.template())
        return [n for n in names if n not in self.state and ".shortcut." not in n and not n.endswith(COUNTER)]


def is_copy(name: str) -> bool:
    """Whether a word of a prefix or a name means a copy, such as ``ema_model.`` and ``net.device_models.a.``."""
    return any(word in COPIES for part in name.split(".") for word in (part, *part.split("_")))


def shapes_of(config: ModelConfig) -> dict[str, Tensor]:
    """Names, shapes and types of a network's tensors, without its memory."""
    with torch.device("meta"):
        return build_model(config).state_dict()


def find_network(path: Path, tensors: Mapping[str, Tensor], prefix: str | None) -> tuple[Found, list[Found]]:
    """The network of a checkpoint, and the other whole networks in it, by the tensors of all its dictionaries.

    Args:
        prefix: which one to take; the end of the prefix is enough where it is unique.

    Raises:
        TrainingError: see the module's refusals.
    """
    candidates = _candidates(tensors)
    whole = [found for found in candidates if not found.missing()]
    if not whole:
        raise _no_network(path, tensors, candidates)
    if len(whole) > MOST_NETWORKS:
        raise TrainingError(str(path), f"contains over {MOST_NETWORKS} networks", got=len(whole))
    chosen = _choose(path, whole, prefix)
    inside = tuple(chosen.prefix + module for module in _FAMILIES[chosen.family])
    for name in tensors:
        if name.startswith(inside) and name.removeprefix(chosen.prefix) not in chosen.state:
            raise TrainingError(
                str(path),
                f"another network than {chosen.title}",
                expected=EXPECTED_NET,
                got=f"further tensor '{name[:120]}' inside it",
                next_step="export the network to ONNX or TFLite and import that file",
            )
    return chosen, [other for other in whole if other is not chosen]


def find_weights(
    path: Path, tensors: Mapping[str, Tensor], names: Collection[str], prefix: str | None = None
) -> dict[str, Tensor]:
    """The tensors with all these names under one prefix, such as ``module.``; counters of BatchNorm may be missing.

    Args:
        prefix: as for :func:`find_network`.

    Raises:
        TrainingError: no prefix has all names, there are further tensors under it, or several networks.
    """
    needed = [name for name in names if not name.endswith(COUNTER)]
    longest = max(needed, key=len, default="")
    places = [name.removesuffix(longest) for name in tensors if f".{name}".endswith(f".{longest}")]
    whole = [
        Found("this network", place, {name: tensors[place + name] for name in names if place + name in tensors})
        for place in places
        if all(place + name in tensors for name in needed)
    ]
    if not whole:
        missing = next(
            (name for name in needed if not any(f".{each}".endswith(f".{name}") for each in tensors)), longest
        )
        what = f"tensor '{missing}' is missing, under any prefix" if tensors else "contains no state dict"
        raise TrainingError(str(path), what, expected="weights of exactly this network", next_step="give another file")
    chosen = _choose(path, whole, prefix)
    further = next((n for n in tensors if n.startswith(chosen.prefix) and n[len(chosen.prefix) :] not in names), None)
    if further is not None:
        expected = "weights of exactly this network"
        raise TrainingError(
            str(path), "weights of another network", expected=expected, got=f"unexpected tensor '{further}'"
        )
    return chosen.state


def _candidates(tensors: Mapping[str, Tensor]) -> list[Found]:
    """Every family and prefix for which some tensor's name ends like one of that network."""
    candidates: dict[tuple[str, str], Found] = {}
    for name, tensor in tensors.items():
        for at, end in _ends(name):
            for family in _FAMILIES:
                if _belongs(family, end):
                    key = family, name[:at]
                    candidates.setdefault(key, Found(*key)).state[end] = tensor
    return list(candidates.values())


def _ends(name: str) -> Iterator[tuple[int, str]]:
    """The name's last parts, as many as a network's names have, and where they begin."""
    at = len(name)
    for _ in range(_LONGEST):
        at = name.rfind(".", 0, at)
        yield at + 1, name[at + 1 :]
        if at < 0:
            return


@cache
def _names(family: str) -> frozenset[str]:
    if family == "cp_mobile":
        return frozenset(shapes_of(MODELS["cpm23-8"]))
    return frozenset(_BLOCK.sub(r"stage\1.block.", name) for name in shapes_of(MODELS["cpresnet-33k"]))


def _belongs(family: str, end: str) -> bool:
    if not end.startswith(_FAMILIES[family]):
        return False
    names = _names(family)
    if family == "cp_mobile":
        return end in names
    general = _BLOCK.sub("block.", end, count=1)
    return end in names or any(f"stage{stage}.{general}" in names for stage in (1, 2, 3))


def _choose(path: Path, whole: list[Found], prefix: str | None) -> Found:
    what = "contains several whole networks"
    if prefix is not None:
        wanted = f".{prefix.strip('.')}." if prefix.strip(".") else ""
        exact = [found for found in whole if f".{found.prefix}" == (wanted or ".")]
        chosen = exact or [found for found in whole if wanted and f".{found.prefix}".endswith(wanted)]
        what = "no network under this prefix" if not chosen else "several networks under this prefix"
    else:
        originals = [found for found in whole if not is_copy(found.prefix)] or whole
        first = min(originals, key=lambda found: len(found.prefix))
        chosen = [first, *(found for found in originals if found is not first and not same_weights(found, first))]
    if len(chosen) == 1:
        return chosen[0]
    names = [f"'{found.prefix[-80:]}' ({found.title})" for found in chosen or whole]
    raise TrainingError(
        str(path),
        what,
        expected="one",
        got=", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else ""),
        next_step="choose one with 'tinyscene import --prefix NAME'",
    )


def same_weights(one: Found, other: Found) -> bool:
    """Whether two networks have equal tensors of the same names and types."""
    return one.state.keys() == other.state.keys() and all(
        tensor.dtype == other.state[name].dtype and torch.equal(tensor, other.state[name])
        for name, tensor in one.state.items()
    )


def _no_network(path: Path, tensors: Mapping[str, Tensor], candidates: list[Found]) -> TrainingError:
    nearest = max(candidates, key=lambda found: len(found.state), default=None)
    if nearest is None or 2 * len(nearest.state) < len(nearest.missing()):
        what = "contains no network that tinyscene knows" if tensors else "contains no state dict"
        got = ", ".join(f"'{name[:80]}'" for name in list(tensors)[:5]) or "no tensors"
        step = "export the network to ONNX or TFLite and import that file" if tensors else "give another checkpoint"
        return TrainingError(str(path), what, expected=EXPECTED_NET, got=got, next_step=step)
    return TrainingError(
        str(path),
        f"tensor '{nearest.prefix[-80:]}{nearest.missing()[0]}' is missing",
        expected=f"a whole {nearest.title}",
        got=f"{len(nearest.state)} of its tensors",
        next_step="give another checkpoint",
    )
