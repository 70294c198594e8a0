import { Classifier, type Model } from "./classifier.js";

export { Classifier, type Model, type Result } from "./classifier.js";
export { Microphone } from "./microphone.js";
export { readWav, toInt16, writeWav, type Wav } from "./samples.js";
export const model: Model;
/** The classifier, after its self-test. module: the bytes of model.wasm; read from beside index.js if left out. */
export function createClassifier(
  module?: BufferSource | WebAssembly.Module | Promise<BufferSource | WebAssembly.Module>,
): Promise<Classifier>;
