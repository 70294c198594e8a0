// npm test: constants, one generated input, and the golden vectors of the model, whose outputs must be equal.
import { readFile } from "node:fs/promises";
import * as package_ from "./index.js";

const instance = await (package_.createClassifier ?? package_.createNetwork)();
instance.checkConstants();
const golden = JSON.parse(await readFile(new URL("./golden.json", import.meta.url)));
const codes = (text) => new Int8Array(Uint8Array.from(Buffer.from(text, "base64")).buffer);
let [bytes, different] = [0, 0];
golden.inputs.forEach((input, i) => {
  const [expected, got] = [codes(golden.outputs[i]), instance.invoke(codes(input))];
  bytes += expected.length;
  different += expected.reduce((sum, code, at) => sum + (code !== got[at]), 0);
  instance.reset?.();
});
console.log(`self-test: constants and one generated input; ${golden.inputs.length} golden vectors, ${bytes} bytes, ${different} different`);
process.exitCode = different > 0 ? 1 : 0;
