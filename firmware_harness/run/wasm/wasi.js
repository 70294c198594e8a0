// The part of WASI that the images use, with files in memory, for browsers.
//
// runImage(bytes, files) runs a WebAssembly image on a Map of file names to Uint8Array, in which it also writes, and
// returns {code, printed}. Runs to the end in one call, so it belongs into a page of its own or into a worker.

const ERRNO = { success: 0, badf: 8, noent: 44, notdir: 54 };
const FIRST_FOLDER = 3; // the descriptor of the current folder; 0 to 2 are the standard streams
const KIND = { character: 2, folder: 3, file: 4 };

class Exit {
  constructor(code) {
    this.code = code;
  }
}

class Growing {
  constructor() {
    this.bytes = new Uint8Array(1 << 16);
    this.length = 0;
  }

  append(piece) {
    if (this.length + piece.length > this.bytes.length) {
      const larger = new Uint8Array(2 * (this.length + piece.length));
      larger.set(this.bytes.subarray(0, this.length));
      this.bytes = larger;
    }
    this.bytes.set(piece, this.length);
    this.length += piece.length;
  }
}

function runImage(bytes, files) {
  const opened = new Map(); // descriptor -> {name, at} to read, {name, written} to write
  const printed = new Growing();
  let memory = null;
  const words = () => new DataView(memory.buffer);
  const text = (address, length) => new TextDecoder().decode(new Uint8Array(memory.buffer, address, length));

  function* pieces(vectors, count) {
    for (let i = 0; i < count; ++i) {
      const [address, length] = [0, 4].map((part) => words().getUint32(vectors + 8 * i + part, true));
      yield new Uint8Array(memory.buffer, address, length);
    }
  }

  const functions = {
    proc_exit(code) {
      throw new Exit(code);
    },
    fd_prestat_get(descriptor, result) {
      if (descriptor !== FIRST_FOLDER) {
        return ERRNO.badf;
      }
      words().setUint32(result, 0, true);
      words().setUint32(result + 4, 1, true); // the length of its name, "."
      return ERRNO.success;
    },
    fd_prestat_dir_name(descriptor, address) {
      new Uint8Array(memory.buffer)[address] = ".".charCodeAt(0);
      return descriptor === FIRST_FOLDER ? ERRNO.success : ERRNO.notdir;
    },
    fd_fdstat_get(descriptor, result) {
      const kind = descriptor < FIRST_FOLDER ? KIND.character : descriptor === FIRST_FOLDER ? KIND.folder : KIND.file;
      new Uint8Array(memory.buffer, result, 24).fill(0);
      words().setUint8(result, kind);
      words().setBigUint64(result + 8, ~0n, true);
      words().setBigUint64(result + 16, ~0n, true);
      return ERRNO.success;
    },
    fd_fdstat_set_flags() {
      return ERRNO.success;
    },
    path_open(folder, lookup, address, length, creation, rights, inheriting, flags, result) {
      const name = text(address, length);
      const [CREATE, TRUNCATE] = [1, 8];
      if (!(creation & CREATE) && !files.has(name)) {
        return ERRNO.noent;
      }
      let descriptor = FIRST_FOLDER + 1;
      while (opened.has(descriptor)) {
        ++descriptor;
      }
      opened.set(descriptor, creation & TRUNCATE ? { name, written: new Growing() } : { name, at: 0 });
      words().setUint32(result, descriptor, true);
      return ERRNO.success;
    },
    fd_read(descriptor, vectors, count, result) {
      const file = opened.get(descriptor);
      let total = 0;
      for (const piece of pieces(vectors, count)) {
        const part = files.get(file.name).subarray(file.at, file.at + piece.length);
        piece.set(part);
        file.at += part.length;
        total += part.length;
      }
      words().setUint32(result, total, true);
      return ERRNO.success;
    },
    fd_write(descriptor, vectors, count, result) {
      const target = descriptor < FIRST_FOLDER ? printed : opened.get(descriptor).written;
      let total = 0;
      for (const piece of pieces(vectors, count)) {
        target.append(piece);
        total += piece.length;
      }
      words().setUint32(result, total, true);
      return ERRNO.success;
    },
    fd_seek() {
      return ERRNO.badf;
    },
    fd_close(descriptor) {
      const file = opened.get(descriptor);
      if (file?.written) {
        files.set(file.name, file.written.bytes.slice(0, file.written.length));
      }
      opened.delete(descriptor);
      return ERRNO.success;
    },
  };

  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { wasi_snapshot_preview1: functions });
  memory = exports.memory;
  let code = 0;
  try {
    exports._start();
  } catch (end) {
    if (!(end instanceof Exit)) {
      throw end;
    }
    code = end.code;
  }
  [...opened.keys()].forEach(functions.fd_close);
  return { code, printed: new TextDecoder().decode(printed.bytes.subarray(0, printed.length)) };
}
