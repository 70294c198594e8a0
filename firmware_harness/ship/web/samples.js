// Samples as the classifier takes them: mono, int16, at the network's own rate; and WAV files of them.
//
// A WAV file is read here and not by the browser, which would resample it unseen. Integers of 8, 16, 24 and 32 bits and
// floats of 32 and 64 bits are read; channels are averaged in float32, and where they cancel, they count as silence, as
// in `tinyscene run`. Refuses other files and encodings, files that end early, have no samples, or have two formats or
// two pieces of samples, rates outside 1 to 768 kHz, and samples that are not finite or beyond 2^31.

export const FULL_SCALE = 32768;
const FORMATS = { 1: "integers", 3: "floats" };
const EXTENSIBLE = 0xfffe;
const FORMAT_GUID = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]; // after the format code
const MAX_CHANNELS = 64;
const MIN_RATE = 1000;
const MAX_RATE = 768000;
const MAX_PEAK = 2 ** 31; // full scale of integers that are stored as floats
const PIECE_SAMPLES = 2 ** 20; // of all channels, in at most a second: a piece whose channels cancel is silence
const SILENT_PEAK = 2 / FULL_SCALE;
const CANCELLED_ENERGY = 1e-4; // of the mean, relative to that of the channels

/** Samples in [-1, 1] as 16-bit PCM: scaled, rounded half to even, clipped. */
export function toInt16(samples) {
  return Int16Array.from(samples, (sample) => {
    const scaled = Math.fround(sample * FULL_SCALE);
    const nearest = Math.round(scaled);
    const even = Math.abs(scaled % 1) === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
    return Math.min(Math.max(even, -FULL_SCALE), FULL_SCALE - 1);
  });
}

/** The bytes of a WAV file: {sampleRate, channels, samples}, mixed down to mono. Throws Error for what is refused. */
export function readWav(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.length < 12 || text(0) !== "RIFF" || text(8) !== "WAVE") {
    throw new Error("not a WAV file: expected RIFF and WAVE at its start");
  }
  const chunks = {};
  for (let at = 12; at + 8 <= bytes.length && /^[ -~]{4}$/.test(text(at)); ) {
    const name = text(at);
    const size = view.getUint32(at + 4, true);
    const begin = at + 8;
    if (name === "fmt " || name === "data") {
      if (name in chunks) {
        throw new Error(`WAV file: it has more than one chunk '${name}'`);
      }
      if (name === "data" && !("fmt " in chunks)) {
        throw new Error("WAV file: the samples come before their format");
      }
      if (begin + size > bytes.length) {
        throw new Error(`WAV file: it ends early: expected ${size} bytes of '${name}', got ${bytes.length - begin}`);
      }
      chunks[name] = [begin, size];
    }
    at = begin + size + (size % 2);
  }
  if (!("data" in chunks)) {
    throw new Error("WAV file: it has no samples");
  }
  const format = readFormat(view, ...chunks["fmt "]);
  return { ...format, samples: readSamples(view, ...chunks.data, format) };
}

function readFormat(view, at, size) {
  if (size < 16) {
    throw new Error(`WAV file: a format of ${size} bytes: expected 16 or more`);
  }
  let code = view.getUint16(at, true);
  const channels = view.getUint16(at + 2, true);
  const sampleRate = view.getUint32(at + 4, true);
  const bits = view.getUint16(at + 14, true);
  if (code === EXTENSIBLE && size >= 40 && FORMAT_GUID.every((byte, i) => view.getUint8(at + 26 + i) === byte)) {
    code = view.getUint16(at + 24, true);
  }
  const known = code === 1 ? [8, 16, 24, 32] : code === 3 ? [32, 64] : [];
  if (!known.includes(bits)) {
    throw new Error(`WAV file: encoding ${code} with ${bits} bits: expected integers of 8 to 32 bits, or floats`);
  }
  if (channels < 1 || channels > MAX_CHANNELS || view.getUint16(at + 12, true) !== (channels * bits) / 8) {
    throw new Error(`WAV file: ${channels} channels in frames of ${view.getUint16(at + 12, true)} bytes`);
  }
  if (sampleRate < MIN_RATE || sampleRate > MAX_RATE) {
    throw new Error(`WAV file: ${sampleRate} Hz: expected ${MIN_RATE} to ${MAX_RATE} Hz`);
  }
  return { sampleRate, channels, encoding: `${FORMATS[code]} of ${bits} bits` };
}

/** The reader of one sample, as a number in [-1, 1], and its size in bytes. */
function sampleReader(view, encoding) {
  const readers = {
    "integers of 8 bits": [1, (at) => (view.getUint8(at) - 128) / 128],
    "integers of 16 bits": [2, (at) => view.getInt16(at, true) / FULL_SCALE],
    "integers of 24 bits": [3, (at) => (view.getUint8(at) | (view.getInt16(at + 1, true) << 8)) / 2 ** 23],
    "integers of 32 bits": [4, (at) => view.getInt32(at, true) / 2 ** 31],
    "floats of 32 bits": [4, (at) => view.getFloat32(at, true)],
    "floats of 64 bits": [8, (at) => view.getFloat64(at, true)],
  };
  return readers[encoding];
}

function readSamples(view, begin, size, { sampleRate, channels, encoding }) {
  const [bytes, read] = sampleReader(view, encoding);
  const mono = new Float32Array(Math.floor(size / (bytes * channels)));
  if (mono.length === 0) {
    throw new Error("WAV file: it has no samples");
  }
  const length = Math.min(sampleRate, Math.floor(PIECE_SAMPLES / channels));
  const frame = new Float32Array(channels);
  for (let first = 0; first < mono.length; first += length) {
    const piece = mono.subarray(first, first + length);
    let energy = 0;
    for (let i = 0, at = begin + first * bytes * channels; i < piece.length; ++i) {
      for (let channel = 0; channel < channels; ++channel, at += bytes) {
        frame[channel] = read(at);
        energy += frame[channel] ** 2;
        if (!(Math.abs(frame[channel]) <= MAX_PEAK)) {
          throw new Error(`WAV file: sample ${first + i} is ${frame[channel]}: expected finite samples in [-1, 1]`);
        }
      }
      piece[i] = mean(frame);
    }
    if (channels > 1 && cancels(piece, energy / (piece.length * channels))) {
      piece.fill(0);
    }
  }
  return toInt16(mono);
}

/** Whether channels of this mean energy, which are not silent, cancel in their mean. */
function cancels(mono, energy) {
  const left = mono.reduce((sum, sample) => sum + sample ** 2, 0) / mono.length;
  return energy > SILENT_PEAK ** 2 && left <= CANCELLED_ENERGY * energy;
}

/** The mean in float32, its terms added in NumPy's order: eight sums side by side from eight terms on. */
function mean(terms) {
  const add = (a, b) => Math.fround(a + b);
  const whole = terms.length - (terms.length % 8);
  let sum = 0;
  if (whole > 0) {
    const sums = terms.slice(0, 8);
    for (let i = 8; i < whole; ++i) {
      sums[i % 8] += terms[i];
    }
    const [a, b, c, d, e, f, g, h] = sums;
    sum = add(add(add(a, b), add(c, d)), add(add(e, f), add(g, h)));
  }
  for (let i = whole; i < terms.length; ++i) {
    sum = add(sum, terms[i]);
  }
  return sum / terms.length;
}

/** 16-bit mono samples as a WAV file. */
export function writeWav(samples, sampleRate) {
  const bytes = new Uint8Array(44 + 2 * samples.length);
  const view = new DataView(bytes.buffer);
  const text = (at, name) => bytes.set([...name].map((character) => character.charCodeAt(0)), at);
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, 2 * sampleRate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => view.setInt16(44 + 2 * i, sample, true));
  return bytes;
}
