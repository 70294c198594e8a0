// Run a WebAssembly image in Node.js, with the current folder as its only folder, and exit with its code.
//
//     node in_node.mjs IMAGE
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const wasi = new WASI({ version: "preview1", preopens: { ".": "." }, returnOnExit: true });
const module = await WebAssembly.compile(readFileSync(process.argv[2]));
const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.wasiImport });
try {
  process.exitCode = wasi.start(instance);
} catch (trap) {
  console.error(`ERROR: ${trap.message}`);
  process.exitCode = 1;
}
