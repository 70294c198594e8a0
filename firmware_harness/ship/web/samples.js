// Samples as the classifier takes them: mono, int16, at the network's own rate; and WAV files of them.
//
// A WAV file is read here and not by the browser, which would resample it unseen. Integers of 8, 16, 24 and 32 bits and
// floats of 32 and 64 bits are read; channels are averaged in float32. Refuses other files and encodings, files that end
// early, and samples that are not finite.

export const FULL_SCALE = 32768;
const FORMATS = { 1: "integers", 3: "floats" };
const EXTENSIBLE = 0xfffe;
const MAX_CHANNELS = 64;

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
  const name = (at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.length < 12 || name(0) !== "RIFF" || name(8) !== "WAVE") {
    throw new Error("not a WAV file: expected RIFF and WAVE at its start");
  }
  let format = null;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const size = view.getUint32(at + 4, true);
    const begin = at + 8;
    if (name(at) === "fmt ") {
      format = readFormat(view, begin, size);
    }
    if (name(at) === "data") {
      if (format === null) {
        throw new Error("WAV file: the samples come before their format");
      }
      if (begin + size > bytes.length) {
        throw new Error(`WAV file: it ends early: expected ${size} bytes of samples, got ${bytes.length - begin}`);
      }
      return { ...format, samples: mixDown(view, begin, size, format) };
    }
    at = begin + size + (size % 2);
  }
  throw new Error("WAV file: it has no samples");
}

function readFormat(view, at, size) {
  if (size < 16 || at + size > view.byteLength) {
    throw new Error("WAV file: its format ends early");
  }
  let code = view.getUint16(at, true);
  const channels = view.getUint16(at + 2, true);
  const sampleRate = view.getUint32(at + 4, true);
  const bits = view.getUint16(at + 14, true);
  if (code === EXTENSIBLE && size >= 40) {
    code = view.getUint16(at + 24, true);
  }
  const known = code === 1 ? [8, 16, 24, 32] : code === 3 ? [32, 64] : [];
  if (!known.includes(bits)) {
    throw new Error(`WAV file: encoding ${code} with ${bits} bits: expected integers of 8 to 32 bits, or floats`);
  }
  if (channels < 1 || channels > MAX_CHANNELS || view.getUint16(at + 12, true) !== (channels * bits) / 8) {
    throw new Error(`WAV file: ${channels} channels in frames of ${view.getUint16(at + 12, true)} bytes`);
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

function mixDown(view, begin, size, { channels, encoding }) {
  const [bytes, read] = sampleReader(view, encoding);
  const mono = new Float32Array(Math.floor(size / (bytes * channels)));
  for (let frame = 0, at = begin; frame < mono.length; ++frame) {
    let sum = 0;
    for (let channel = 0; channel < channels; ++channel, at += bytes) {
      sum = Math.fround(sum + Math.fround(read(at)));
    }
    mono[frame] = sum / channels;
    if (!Number.isFinite(mono[frame])) {
      throw new Error(`WAV file: sample ${frame} is not finite`);
    }
  }
  return toInt16(mono);
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
