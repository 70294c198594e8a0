// Run a .tflite file in LiteRT.js on one thread, accelerator "wasm": LiteRT and XNNPACK.
//
// Its JavaScript classes refuse int8 tensors (2.5.3), so this program calls the WebAssembly module below them.
// The module's loader expects a web worker, of which Node.js lacks `self` and `importScripts`.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { compileFunction } from "node:vm";
import { modelBytes, packaged, packageVersion, refuse, runVectors } from "./tensors.mjs";

globalThis.self = globalThis;
globalThis.importScripts = (path) => {
  const module = { exports: {} };
  const names = ["module", "exports", "require", "__filename", "__dirname"];
  const load = compileFunction(readFileSync(path, "utf8"), names, { filename: path });
  load(module, module.exports, createRequire(path), path, dirname(path));
  globalThis.ModuleFactory = module.exports;
};
// The loader chooses the build with relaxed SIMD instructions, which Node.js 24 has, as in Chromium and Firefox.
const { loadLiteRt } = await import(packaged("@litertjs/core", "dist", "index.js"));
const runtime = await loadLiteRt(packaged("@litertjs/core", "wasm"));
const wasm = runtime.liteRtWasm;
const environment = runtime.getDefaultEnvironment();
const bytes = modelBytes("model.tflite");
const address = wasm._malloc(bytes.length);
wasm.HEAPU8.set(bytes, address);

const SIGNATURE = 0;
const TYPES = { 1: "float32", 9: "int8" };

async function compiled() {
  const model = wasm.loadModel(environment.liteRtEnvironment, address, bytes.length);
  const options = { environment, accelerator: "wasm", cpuOptions: { numThreads: 1 }, gpuOptions: {}, webNNOptions: {} };
  return [model, await wasm.compileModel(environment.liteRtEnvironment, model, options)];
}

function filled(type, part) {
  const { HOST_MEMORY } = wasm.LiteRtTensorBufferType;
  const buffer = wasm.LiteRtTensorBuffer.createManaged(environment.liteRtEnvironment, HOST_MEMORY, type, part.length);
  wasm.HEAPU8.set(part, buffer.lock(wasm.LiteRtTensorBufferLockMode.WRITE));
  buffer.unlock();
  return buffer;
}

function listed(vector) {
  return Array.from({ length: vector.size() }, (_, at) => vector.get(at));
}

function read(buffer, name) {
  const type = buffer.tensorType();
  const start = buffer.lock(wasm.LiteRtTensorBufferLockMode.READ);
  const copy = Buffer.from(wasm.HEAPU8.slice(start, start + buffer.packedSize()));
  buffer.unlock();
  const shape = listed(type.layout().dimensions());
  buffer.delete();
  return { name, type: TYPES[type.elementType().value], shape, bytes: copy };
}

const [model, network] = await compiled().catch(refuse);
const names = listed(model.getSignature(SIGNATURE).outputNames());
await runVectors(packageVersion("@litertjs/core"), async (parts) => {
  const inputs = parts.map((part, at) => filled(model.getInputTensorType(SIGNATURE, at), part));
  const outputs = await network.run(SIGNATURE, inputs);
  inputs.forEach((buffer) => buffer.delete());
  return outputs.map((buffer, at) => read(buffer, names[at]));
});
