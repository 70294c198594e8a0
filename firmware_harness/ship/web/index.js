// The classifier of this package.
import { Classifier } from "./classifier.js";
import { bytesOf } from "./load.js";
import { model } from "./model.js";

export { Microphone } from "./microphone.js";
export { readWav, toInt16, writeWav } from "./samples.js";
export { Classifier, model };

/** The classifier, after its self-test. module: the bytes of model.wasm; read from beside this file if left out. */
export async function createClassifier(module = bytesOf("model.wasm")) {
  return Classifier.create(model, await module);
}
