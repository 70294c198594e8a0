"""Run a WebAssembly image in Wasmtime, with the current folder as its only folder, and exit with its code.

python -P in_wasmtime.py IMAGE
"""

from __future__ import annotations

import sys

from wasmtime import Engine, ExitTrap, Func, Linker, Module, Store, Trap, WasiConfig, WasmtimeError


def main(image: str) -> int:
    engine = Engine()
    store, linker, wasi = Store(engine), Linker(engine), WasiConfig()
    wasi.preopen_dir(".", ".")
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    store.set_wasi(wasi)
    linker.define_wasi()
    try:
        instance = linker.instantiate(store, Module.from_file(engine, image))
        start = instance.exports(store)["_start"]
        assert isinstance(start, Func)
        start(store)
    except ExitTrap as ended:
        return int(ended.code)
    except Trap as trap:
        print(f"ERROR: {trap.message.splitlines()[-1].strip()}", file=sys.stderr)
        return 1
    except WasmtimeError as problem:
        print(f"ERROR: {' '.join(str(problem).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
