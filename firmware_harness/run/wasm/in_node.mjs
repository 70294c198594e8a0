// Run a WebAssembly image in Node.js, with the current folder as its only folder, and exit with its code.
//
//     node in_node.mjs IMAGE
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const wasi = new WASI({ version: "preview1", preopens: { ".": "." }, returnOnExit: true });
try {
  const module = await WebAssembly.compile(readFileSync(process.argv[2]));
  const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.wasiImport });
  process.exitCode = wasi.start(instance);
} catch (problem) {
  console.error(`ERROR: ${problem.message}`);
  process.exitCode = 1;
}
