import { Network, type Model } from "./network.js";

export { Network, type Model, type Tensor } from "./network.js";
export const model: Model;
/** The network, after its self-test. module: the bytes of model.wasm; read from beside index.js if left out. */
export function createNetwork(
  module?: BufferSource | WebAssembly.Module | Promise<BufferSource | WebAssembly.Module>,
): Promise<Network>;
