// The network of this package.
import { bytesOf } from "./load.js";
import { model } from "./model.js";
import { Network } from "./network.js";

export { Network, model };

/** The network, after its self-test. module: the bytes of model.wasm; read from beside this file if left out. */
export async function createNetwork(module = bytesOf("model.wasm")) {
  return Network.create(model, await module);
}
