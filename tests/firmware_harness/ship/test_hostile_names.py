"""Exported folders of a bundle whose names are hostile: they compile, and no name is more than a name in any file."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.firmware_harness.bundles import FRONTEND, network_alone, two_ended_network
from tests.firmware_harness.machines import each_format
from tests.graphs import random_input, small_net
from tinyscene.firmware_harness.ship.formats import FORMATS, contents
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.runtime.bundle import Bundle, BundleContent, Golden, write_bundle
from tinyscene.runtime.manifest import Provenance

EVIL = '*/ "`$(touch owned)`${X}@{prefix}@&<b>\\\n%n[a](b)\x1b[2J??/'
LABELS = ('tram "7"', "a\\b", "Geräusch", "??/ %s", "new\nline", "*/ #error", "product_x", "ts_x", "PRODUCT_X", EVIL)
OPTIONS = Options(prefix="asc")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Product:
    graph = replace(small_net(np.random.default_rng(3), grn=False), name=EVIL, labels=LABELS)
    graph = replace(graph, nodes=tuple(replace(node, name=f"{EVIL}{i}") for i, node in enumerate(graph.nodes)))
    golden = Golden.of(graph, random_input(np.random.default_rng(4), graph, 1))
    content = BundleContent(graph, replace(FRONTEND, name=EVIL[:64]), b"TFL3", b"onnx", golden)
    bundle: Bundle = write_bundle(tmp_path_factory.mktemp("hostile") / "bundle", content, Provenance(EVIL, {}))
    return Product(bundle, OPTIONS, "tinyscene")


@pytest.fixture(scope="module")
def hostile_ends(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """A network without a front end whose inputs and outputs have hostile names."""
    graph = two_ended_network()
    new = {name: f"{EVIL}{i}" for i, name in enumerate((*graph.inputs, *graph.outputs))}

    def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new.get(name, name) for name in names)

    tensors = {new.get(key, key): replace(tensor, name=new.get(key, key)) for key, tensor in graph.tensors.items()}
    nodes = tuple(
        replace(node, inputs=renamed(node.inputs), output=new.get(node.output, node.output)) for node in graph.nodes
    )
    ends = {"inputs": renamed(graph.inputs), "outputs": renamed(graph.outputs)}
    bundle = network_alone(tmp_path_factory.mktemp("ends"), replace(graph, tensors=tensors, nodes=nodes, **ends))
    return Product(bundle, OPTIONS, "tinyscene")


@each_format
@pytest.mark.parametrize("product", ["hostile", "hostile_ends"])
def test_no_name_is_more_than_a_name(product: str, form: str, request: pytest.FixtureRequest) -> None:
    for name, data in contents(request.getfixturevalue(product), FORMATS[form]).items():
        if name.endswith((".pack", ".c", ".h", ".ino", ".js", ".wasm")):  # a pack of the same files; labels as strings
            continue
        text = data.decode()
        for words in ("$(touch", "${X}", "<b>", "\x1b", "[a](b)", "owned`"):
            assert words not in text, name
        if name.endswith(".json"):
            json.loads(text)
        elif name.endswith((".yml", ".yaml")):
            yaml.safe_load(text)
        elif name.endswith(".pdsc"):
            ElementTree.fromstring(text)


@pytest.mark.needs_tool("gcc")
def test_labels_of_a_product_are_equal(hostile: Product, tmp_path: Path) -> None:
    """Also those that look like the names which the prefix replaces."""
    (tmp_path / "asc.h").write_text(hostile.header())
    (tmp_path / "asc.c").write_text(hostile.source())
    program = '#include <stdio.h>\n#include "asc.h"\nint main(void) { const char* const l[] = ASC_LABELS; '
    program += "for (int i = 0; i < 10; ++i) { fputs(l[i], stdout); putchar(0); } return 0; }\n"
    (tmp_path / "main.c").write_text(program)
    flags = ["-std=c99", "-O0", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "main.c", "asc.c", "-lm", "-o", "main"], cwd=tmp_path, check=True)
    printed = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert printed == "".join(f"{label}\0" for label in LABELS).encode()


@pytest.mark.needs_tool("gcc")
def test_names_of_inputs_and_outputs_are_equal(hostile_ends: Product, tmp_path: Path) -> None:
    (tmp_path / "asc.h").write_text(hostile_ends.header())
    (tmp_path / "asc.c").write_text(hostile_ends.source())
    names = ("INPUT_0", "INPUT_1", "OUTPUT_0", "OUTPUT_1")
    program = '#include <stdio.h>\n#include "asc.h"\nint main(void) { '
    program += "".join(f"fputs(ASC_{name}_NAME, stdout); putchar(0); " for name in names) + "return 0; }\n"
    (tmp_path / "main.c").write_text(program)
    flags = ["-std=c99", "-O0", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "main.c", "asc.c", "-lm", "-o", "main"], cwd=tmp_path, check=True)
    printed = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert printed == "".join(f"{EVIL}{i}\0" for i in range(4)).encode()
