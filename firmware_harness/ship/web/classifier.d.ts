/** A classifier of audio: sizes, labels and the digest of its model. */
export interface Model {
  readonly name: string;
  readonly release: string;
  readonly generator: string;
  readonly digest: string;
  readonly rounding: "double" | "single";
  /** Hz; samples of any other rate give wrong labels. */
  readonly sampleRate: number;
  /** Samples of one network input, and between two results. */
  readonly clipSamples: number;
  readonly hopSamples: number;
  /** Number of results that are averaged. */
  readonly smoothedHops: number;
  /** Log-mel of one network input, and the arithmetic that computes it. */
  readonly arithmetic: "float" | "integer";
  readonly bands: number;
  readonly frames: number;
  readonly labels: readonly string[];
  readonly inputBytes: number;
  readonly outputBytes: number;
}

/** The result of one hop. Labels are indices into Model.labels; scores and smoothed add up to 1. */
export interface Result {
  readonly hops: number;
  readonly label: number;
  readonly smoothedLabel: number;
  readonly scores: Float32Array;
  readonly smoothed: Float32Array;
  /** The network's output. */
  readonly codes: Int8Array;
}

export class Classifier {
  readonly model: Model;
  /** @throws Error: the module is of another model, or its self-test fails. */
  static create(model: Model, module: BufferSource | WebAssembly.Module): Promise<Classifier>;
  private constructor();
  begin(): void;
  push(samples: Int16Array, onColumn?: ((codes: Int8Array) => void) | null): Result[];
  invoke(codes: Int8Array): Int8Array;
  /** @throws Error: the constants in memory are damaged. */
  checkConstants(): void;
}
