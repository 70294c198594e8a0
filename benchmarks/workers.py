"""What a worker process costs: processor time of one call of each native engine, in this process and in one of its own.

    python benchmarks/workers.py [--calls N]

A call is two inputs through a small network. Refuses nothing; engines that are not installed are left out by name.
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

import numpy as np

from tests.graphs import random_input, small_net
from tinyscene.export.targets.isolated import MODEL_OF, WorkerEngine
from tinyscene.export.targets.table import Exposed
from tinyscene.runtime.engines import ENGINES, Engine, available_engines


def cpu_seconds() -> float:
    """Of this process and of those that it waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def per_call(engine: Engine, calls: int) -> float:
    """CPU seconds of one call."""
    inputs = random_input(np.random.default_rng(1), small_net(np.random.default_rng(0), grn=False), 2)
    engine.output_codes(inputs)
    start = cpu_seconds()
    for _ in range(calls):
        engine.output_codes(inputs)
    return (cpu_seconds() - start) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=5, metavar="N", help="calls of each engine (5)")
    calls = parser.parse_args().calls
    files = Exposed(small_net(np.random.default_rng(0), grn=False))
    print(f"{'engine':18s}{'in this process':>18s}{'in a worker':>16s}")
    for name in MODEL_OF:
        if reason := available_engines()[name]:
            print(f"{name:18s}left out: {reason}")
            continue
        here, worker = (per_call(engine, calls) for engine in (ENGINES[name].open(files, 1), WorkerEngine(name, files)))
        print(f"{name:18s}{here * 1e3:15.1f} ms{worker * 1e3:13.0f} ms")


if __name__ == "__main__":
    main()
