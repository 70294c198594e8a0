// A classifier of audio in WebAssembly: int16 samples in, labels out.
//
// Refuses a module of another model than the description belongs to, and a module whose self-test fails.

const STATUS = {
  0: "ok",
  [-1]: "a pointer is null",
  [-2]: "the arena is not aligned",
  [-3]: "input or output lies inside the arena",
  [-4]: "the constants in memory are not those that were emitted",
  [-5]: "the network's output for the test input is wrong",
  [-6]: "the state is not initialised, or damaged",
};

function require(status) {
  if (status < 0) {
    throw new Error(`classifier: ${STATUS[status] ?? `status ${status}`}`);
  }
  return status;
}

export class Classifier {
  #exports;
  #given;

  /** Compile the module of a model, and test constants and arithmetic. */
  static async create(model, module) {
    const compiled = module instanceof WebAssembly.Module ? module : await WebAssembly.compile(module);
    return new Classifier(model, new WebAssembly.Instance(compiled).exports);
  }

  constructor(model, exports) {
    this.model = model;
    this.#exports = exports;
    const digest = new TextDecoder().decode(this.#bytes(exports.digest_at(), model.digest.length));
    if (digest !== model.digest) {
      throw new Error(`classifier: the module is of another model: expected ${model.digest}, got ${digest}`);
    }
    this.#given = new Int16Array(exports.memory.buffer, exports.samples_at(), model.hopSamples);
    this.begin();
  }

  /** Begin a new stream of audio, after the self-test. */
  begin() {
    require(this.#exports.begin());
  }

  /**
   * Process samples at model.sampleRate, in pieces of any length. Returns the results of the hops that they complete;
   * onColumn is called with each column of the log-mel, its codes from the lowest band to the highest.
   */
  push(samples, onColumn = null) {
    const results = [];
    for (let at = 0; at < samples.length; at += this.#given.length) {
      const piece = samples.subarray(at, at + this.#given.length);
      this.#given.set(piece);
      const hops = require(this.#exports.push(piece.length));
      if (onColumn !== null) {
        this.#columns().forEach(onColumn);
      }
      if (hops > 0) {
        results.push(this.#result());
      }
    }
    return results;
  }

  /** Run the network once on codes of its input, band by band; the stream of audio begins anew. */
  invoke(codes) {
    const { inputBytes, outputBytes } = this.model;
    if (codes.length !== inputBytes) {
      throw new Error(`classifier: codes: expected ${inputBytes}, got ${codes.length}`);
    }
    new Int8Array(this.#exports.memory.buffer, this.#exports.input_at(), inputBytes).set(codes);
    require(this.#exports.invoke());
    return new Int8Array(this.#exports.memory.buffer, this.#exports.output_at(), outputBytes).slice();
  }

  /** Compare the checksum of all constants with the emitted one. */
  checkConstants() {
    while (require(this.#exports.check_step(0xffffffff)) === 0) {}
  }

  #bytes(address, length) {
    return new Uint8Array(this.#exports.memory.buffer, address, length);
  }

  #columns() {
    const { bands } = this.model;
    const codes = new Int8Array(this.#exports.memory.buffer, this.#exports.columns_at());
    return Array.from({ length: this.#exports.columns_computed() }, (_, i) => codes.slice(i * bands, (i + 1) * bands));
  }

  #result() {
    const { labels, outputBytes } = this.model;
    const address = this.#exports.result_at();
    const [hops, label, smoothedLabel] = new Int32Array(this.#exports.memory.buffer, address, 3);
    const scores = new Float32Array(this.#exports.memory.buffer, address + 12, 2 * labels.length);
    return {
      hops: hops >>> 0,
      label,
      smoothedLabel,
      scores: scores.slice(0, labels.length),
      smoothed: scores.slice(labels.length),
      codes: new Int8Array(this.#exports.memory.buffer, address + 12 + 8 * labels.length, outputBytes).slice(),
    };
  }
}
