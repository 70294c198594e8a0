"""Many emitted models in one program: compiled once, run once, every layer of every model returned.

Each model is one object whose only global name is its function, so that models with the same names live side by side.
"""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyscene.firmware_harness.build.image import Image
from tinyscene.firmware_harness.build.seal import seal
from tinyscene.firmware_harness.build.targets import C_FLAGS, PORT_FOLDER, Target
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.model import ROUNDING_MACRO, Emitted, emit
from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.firmware_harness.run.emulate import run_image
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.vectors import joined, row_shape

PROGRAM = Path(__file__).with_name("c") / "batch.c"
VECTORS = 2  # inputs of each net
TIMEOUT_S = 1200.0
_RUN = """
    ts_port_put_states(arena, input + TS_PORT_GIVEN_BYTES);
    const int status = ts_model_observe(ts_port_inputs(input), ts_port_outputs(output), arena, observer);
    ts_port_take_states(arena, output + TS_PORT_RESULT_BYTES);
    return status;
"""
_ARGUMENTS = "(const int8_t* input, int8_t* output, void* arena, const TsObserver* observer)"


class Batch:
    """Graphs for one target and rounding rule, in a build folder that later batches share.

    Raises:
        FirmwareError: a graph cannot be emitted. CalledProcessError: the C does not compile.
    """

    def __init__(
        self, graphs: Sequence[Graph], target: Target, rounding: Rounding, folder: Path, optimise: Optimise = "layers"
    ) -> None:
        self.target, self.rounding = target, rounding
        self.emitted = [emit(graph, kernel_set_named(target.cpu), optimise) for graph in graphs]
        rule = [f"-D{ROUNDING_MACRO}"] if rounding == "single" else []
        self._flags = [*C_FLAGS, *target.compile_flags, *target.verify_flags, *rule, "-DTS_OBSERVE"]
        self._objects = folder / f"{target.name}-{rounding}-{target.cpu}"
        self._nets = folder / "nets"
        self._program = self._built()

    def outputs(self, codes: Sequence[I8]) -> list[dict[str, I8]]:
        """Activations between calls of each graph for its input vectors, int8 (VECTORS, ...). Raises FirmwareError."""
        vectors = b"".join(each.tobytes() for each in codes)
        dump = np.frombuffer(run_image(self._program, vectors, TIMEOUT_S).result, np.int8)
        results, at = [], 0
        for emitted in self.emitted:
            result, at = _layers(emitted, dump, at)
            results.append(result)
        assert at == len(dump), (at, len(dump))
        return results

    def _built(self) -> Image:
        shutil.rmtree(self._nets, ignore_errors=True)
        self._nets.mkdir(parents=True)
        self._objects.mkdir(parents=True, exist_ok=True)
        kernels = self.emitted[0].kernels
        shared = [path for path in kernels.sources() if path.suffix == ".c" and '"model.h"' not in path.read_text()]
        shared += [path for port in self.target.port_folders for path in port.glob("*.c")]
        missing = [path for path in shared if not (self._objects / f"{path.stem}.o").exists()]
        folders = [*kernels.folders(), PORT_FOLDER, *self.target.port_folders]
        self._compile(missing, folders, self._objects)
        sources = [self._net(number, emitted) for number, emitted in enumerate(self.emitted)]
        (self._nets / "nets.h").write_text(_table(self.emitted))
        self._compile([*sources, PROGRAM], [self._nets, *folders], self._nets)
        for number in range(len(sources)):
            self._tool("objcopy", f"--keep-global-symbol=run_net_{number}", str(self._nets / f"net_{number}.o"))
        objects = [str(path) for path in (*self._nets.glob("*.o"), *self._objects.glob("*.o"))]
        program = self._nets / "program.elf"
        self._tool("gcc", *self._flags, *self.target.link_flags, *objects, "-o", str(program))
        seal(program, self.target)
        return Image(program, self.target, "verify", self.rounding)

    def _net(self, number: int, emitted: Emitted) -> Path:
        """One source that includes everything that depends on the model, and its function."""
        folder = self._nets / f"net_{number}"
        folder.mkdir()
        (folder / "model.c").write_text(emitted.model_c)
        (folder / "model.h").write_text(emitted.model_h)
        own = [path for path in emitted.kernels.sources() if path.suffix == ".c" and '"model.h"' in path.read_text()]
        for path in own:
            shutil.copy(path, folder)
        includes = "\n".join(f'#include "net_{number}/{name}"' for name in ("model.c", *(path.name for path in own)))
        includes += '\n#include "ts_port_model.h"'
        signature = f"int run_net_{number}{_ARGUMENTS}"
        source = self._nets / f"net_{number}.c"
        source.write_text(f"{includes}\n\n{signature};\n\n{signature} {{{_RUN}}}\n")
        return source

    def _compile(self, sources: Sequence[Path], folders: Sequence[Path], out: Path) -> None:
        if sources:
            includes = [f"-I{folder}" for folder in folders]
            self._tool("gcc", *self._flags, *includes, "-c", *map(str, sources), cwd=out)

    def _tool(self, name: str, *words: str, cwd: Path | None = None) -> None:
        subprocess.run([self.target.toolchain.tool(name), *words], check=True, cwd=cwd)


def _table(models: Sequence[Emitted]) -> str:
    """nets.h: sizes and function of each model."""
    rows, largest = [], [1, 1, 1]
    for number, emitted in enumerate(models):
        graph = emitted.graph
        ends = [math.prod(row_shape(graph, names)) for names in (graph.inputs, graph.outputs)]
        sizes = [emitted.plan.arena_bytes, *ends]
        largest = [max(pair) for pair in zip(largest, sizes, strict=True)]
        rows.append(f"    {{run_net_{number}, {sizes[0]}, {sizes[1]}, {sizes[2]}}},")
    return "\n".join(
        [
            '#include "ts_invoke.h"',
            "typedef struct {",
            f"    int (*run){_ARGUMENTS};",
            "    size_t arena_bytes, input_bytes, output_bytes;",
            "} Net;",
            *(f"int run_net_{number}{_ARGUMENTS};" for number in range(len(models))),
            f"enum {{ VECTORS = {VECTORS}, LARGEST_ARENA_BYTES = {largest[0]}, LARGEST_INPUT_BYTES = {largest[1]},",
            f"       LARGEST_OUTPUT_BYTES = {largest[2]} }};",
            "static const Net nets[] = {",
            *rows,
            "};\n",
        ]
    )


def _layers(emitted: Emitted, dump: I8, at: int) -> tuple[dict[str, I8], int]:
    """The layers of one model from the program's file, by name, and where the next model's begin."""
    graph = emitted.graph
    tensors = [graph.tensors[call.output] for call in emitted.calls]
    sizes = [tensor.n_bytes for tensor in tensors] + [math.prod(row_shape(graph, graph.outputs))]
    block = dump[at : at + VECTORS * sum(sizes)].reshape(VECTORS, -1)
    *pieces, returned = np.split(block, np.cumsum(sizes)[:-1], axis=1)
    layers = {t.name: piece.reshape(VECTORS, *t.shape[1:]) for t, piece in zip(tensors, pieces, strict=True)}
    outputs = joined(graph, graph.outputs, layers).reshape(VECTORS, -1)
    assert np.array_equal(returned, outputs), f"{graph.name}: a returned output is not its layer's"
    return layers, at + block.size
