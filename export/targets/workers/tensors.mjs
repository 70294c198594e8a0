// What web.py and the programs that it runs in Node.js exchange: vectors of tensors as plain bytes, and their description.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const UNSUPPORTED = 69; // as in job.py
const [folder, modules] = process.argv.slice(2);

// The path of a file of an npm package.
export const packaged = (...parts) => join(modules, ...parts);
export const packageVersion = (name) => JSON.parse(readFileSync(packaged(name, "package.json"))).version;
export const modelBytes = (name) => readFileSync(join(folder, name));
export const task = JSON.parse(readFileSync(join(folder, "task.json")));

// End because the engine has no form of the network; web.py reports the last line.
export function refuse(problem) {
  console.error(String(problem?.message ?? problem).replaceAll(/\s+/g, " ").slice(0, 300));
  process.exit(UNSUPPORTED);
}

// Run every vector. `run` takes the bytes of each input, and returns [{name, type, shape, bytes}], one for each output.
export async function runVectors(version, run) {
  const sources = task.inputs.map((_, at) => readFileSync(join(folder, `input_${at}.bin`)));
  const results = [];
  let outputs = [];
  for (let vector = 0; vector < task.vectors; vector++) {
    const parts = sources.map((all) => {
      const size = all.length / task.vectors;
      return all.subarray(vector * size, (vector + 1) * size);
    });
    outputs = await run(parts);
    outputs.forEach(({ bytes }, at) => (results[at] ??= []).push(bytes));
  }
  results.forEach((rows, at) => writeFileSync(join(folder, `output_${at}.bin`), Buffer.concat(rows)));
  const described = outputs.map(({ name, type, shape }) => ({ name, type, shape }));
  writeFileSync(join(folder, "outputs.json"), JSON.stringify({ version, outputs: described }));
}

export const bytesOf = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
