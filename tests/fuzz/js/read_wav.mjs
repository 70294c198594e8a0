// The page's reader of WAV files as a process: contents from standard input, each after its length in 4 bytes; for each
// one line of JSON: rate, channels and samples; or refused, the message of an Error; or escaped, anything else thrown.
//
//     node read_wav.mjs SAMPLES.js
import { readFileSync, readSync, writeSync } from "node:fs";

const source = readFileSync(process.argv[2], "utf8");
const { readWav } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

function taken(length) {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const count = readSync(0, bytes, at, length - at);
    if (count === 0) {
      process.exit(0);
    }
    at += count;
  }
  return bytes;
}

function answer(bytes) {
  try {
    const { sampleRate, channels, samples } = readWav(bytes);
    const content = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
    return { rate: sampleRate, channels, samples: content.toString("base64") };
  } catch (problem) {
    const own = Object.getPrototypeOf(problem) === Error.prototype;
    return own ? { refused: problem.message } : { escaped: String(problem?.stack ?? problem) };
  }
}

function written(text) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    at += writeSync(1, bytes, at);
  }
}

for (;;) {
  const length = new DataView(taken(4).buffer).getUint32(0, true);
  const line = answer(taken(length));
  written(`${JSON.stringify({ ...line, resident: process.memoryUsage.rss() })}\n`);
}
