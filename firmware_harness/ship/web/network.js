// An int8 network in WebAssembly: codes in, codes out.
//
// Refuses a module of another model than the description belongs to, a module whose self-test fails, and codes of
// another length than the inputs have.

function require(status) {
  if (status < 0) {
    throw new Error(`network: status ${status} of the header in src/`);
  }
  return status;
}

const total = (tensors) => tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);

export class Network {
  #exports;

  /** Compile the module of a model, and test constants and arithmetic. */
  static async create(model, module) {
    const compiled = module instanceof WebAssembly.Module ? module : await WebAssembly.compile(module);
    return new Network(model, new WebAssembly.Instance(compiled).exports);
  }

  constructor(model, exports) {
    this.model = model;
    this.#exports = exports;
    const digest = new Uint8Array(exports.memory.buffer, exports.digest_at(), model.digest.length);
    if (new TextDecoder().decode(digest) !== model.digest) {
      throw new Error(`network: the module is of another model: expected ${model.digest}`);
    }
    require(exports.begin());
  }

  /** Run the network once. codes: those of every input, side by side. Returns those of every output. */
  invoke(codes) {
    const expected = total(this.model.inputs);
    if (codes.length !== expected) {
      throw new Error(`network: codes: expected ${expected}, got ${codes.length}`);
    }
    new Int8Array(this.#exports.memory.buffer, this.#exports.input_at(), expected).set(codes);
    require(this.#exports.invoke());
    return new Int8Array(this.#exports.memory.buffer, this.#exports.output_at(), total(this.model.outputs)).slice();
  }

  /** Begin another sequence of runs, for a network that hands something on from one run to the next. */
  reset() {
    require(this.#exports.reset());
  }

  /** Compare the checksum of all constants with the emitted one. */
  checkConstants() {
    while (require(this.#exports.check_step(0xffffffff)) === 0) {}
  }
}
