/** An input or output: a real value is scale * (code - zeroPoint); an image is (height, width, channels). */
export interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly scale: number;
  readonly zeroPoint: number;
}

export interface Model {
  readonly name: string;
  readonly release: string;
  readonly generator: string;
  readonly digest: string;
  readonly rounding: "double" | "single";
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly labels?: readonly string[];
}

export class Network {
  readonly model: Model;
  /** @throws Error: the module is of another model, or its self-test fails. */
  static create(model: Model, module: BufferSource | WebAssembly.Module): Promise<Network>;
  private constructor();
  /** codes: those of every input, side by side. Returns those of every output, side by side. */
  invoke(codes: Int8Array): Int8Array;
  reset(): void;
  /** @throws Error: the constants in memory are damaged. */
  checkConstants(): void;
}
