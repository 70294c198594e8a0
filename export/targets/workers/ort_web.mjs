// Run an ONNX file in onnxruntime-web on one thread, execution provider "wasm".
import { bytesOf, modelBytes, packaged, packageVersion, refuse, runVectors, task } from "./tensors.mjs";

const ort = await import(packaged("onnxruntime-web", "dist", "ort.wasm.min.mjs"));
ort.env.wasm.numThreads = 1;
const options = { executionProviders: ["wasm"], extra: { session: task.session }, logSeverityLevel: 4 };
const session = await ort.InferenceSession.create(modelBytes("model.onnx"), options).catch(refuse);

await runVectors(packageVersion("onnxruntime-web"), async (parts) => {
  const feeds = {};
  parts.forEach((part, at) => {
    const { name, shape } = task.inputs[at];
    feeds[name] = new ort.Tensor("float32", new Float32Array(Uint8Array.from(part).buffer), shape);
  });
  const results = await session.run(feeds);
  return session.outputNames.map((name) => {
    const { type, dims, data } = results[name];
    return { name, type, shape: dims, bytes: bytesOf(data) };
  });
});
