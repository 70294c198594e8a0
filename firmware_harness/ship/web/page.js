// The page: a WAV file or the microphone, the log-mel as it is computed, labels and scores, and the self-test's verdict.
//
// Text of the model and of files is only ever set as text. A WAV file of another rate than the network's is refused.
// The samples that were classified are kept, so that they can be saved and given to another target.
import { Classifier } from "./classifier.js";
import { Microphone } from "./microphone.js";
import { readWav, writeWav } from "./samples.js";

const KEPT_SECONDS = 600;
const CLIP_TOLERANCE = 20; // audio within 1/20 of a clip's length is one clip, as in `tinyscene run`
const SHOWN_CLIPS = 4;
const LISTED = 200;
const COLOURS = [
  [9, 12, 38],
  [59, 28, 108],
  [137, 40, 113],
  [212, 72, 66],
  [249, 149, 44],
  [252, 255, 164],
];

const number = new Intl.NumberFormat("en-US");
const percent = (score) => `${(100 * score).toFixed(1)} %`;
const element = (id) => document.getElementById(id);

function colour(code) {
  const at = ((code + 128) / 255) * (COLOURS.length - 1);
  const index = Math.min(Math.floor(at), COLOURS.length - 2);
  return COLOURS[index].map((low, i) => Math.round(low + (COLOURS[index + 1][i] - low) * (at - index)));
}

/** The log-mel on a canvas, newest column at the right. */
class LogMelPicture {
  #canvas;
  #context;
  #waiting = [];

  constructor(canvas, model) {
    this.#canvas = canvas;
    canvas.width = SHOWN_CLIPS * model.frames;
    canvas.height = model.bands;
    this.#context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.clear();
  }

  clear() {
    this.#waiting = [];
    this.#context.fillStyle = `rgb(${COLOURS[0].join(" ")})`;
    this.#context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  add(codes) {
    if (this.#waiting.length === 0) {
      requestAnimationFrame(() => this.#draw());
    }
    this.#waiting.push(codes);
  }

  #draw() {
    const { width, height } = this.#canvas;
    const columns = this.#waiting.slice(-width);
    this.#waiting = [];
    if (columns.length === 0) {
      return;
    }
    const image = this.#context.createImageData(columns.length, height);
    columns.forEach((codes, x) =>
      codes.forEach((code, band) => {
        const at = 4 * ((height - 1 - band) * columns.length + x);
        image.data.set([...colour(code), 255], at);
      }),
    );
    this.#context.drawImage(this.#canvas, -columns.length, 0);
    this.#context.putImageData(image, width - columns.length, 0);
  }
}

/** Labels with a bar each, those of the model in its order, and the results so far. */
class Results {
  #model;
  #bars;

  constructor(model) {
    this.#model = model;
    this.#bars = model.labels.map((label) => {
      const row = document.createElement("li");
      const [name, bar, value] = ["span", "meter", "span"].map((tag) => row.appendChild(document.createElement(tag)));
      name.textContent = label;
      bar.setAttribute("aria-label", label);
      element("scores").append(row);
      return { row, bar, value };
    });
    this.clear();
  }

  clear() {
    element("label").textContent = "–";
    element("list").replaceChildren();
    this.#bars.forEach(({ row, bar, value }) => {
      row.className = "";
      bar.value = 0;
      value.textContent = "–";
    });
  }

  show(result) {
    const { labels, hopSamples, clipSamples, sampleRate } = this.#model;
    element("label").textContent = labels[result.smoothedLabel];
    this.#bars.forEach(({ row, bar, value }, i) => {
      row.className = i === result.smoothedLabel ? "best" : "";
      bar.value = result.smoothed[i];
      value.textContent = percent(result.smoothed[i]);
    });
    const begin = ((result.hops - 1) * hopSamples) / sampleRate;
    const row = document.createElement("li");
    const span = `${begin.toFixed(2)}–${(begin + clipSamples / sampleRate).toFixed(2)} s`;
    row.textContent = `${span}  ${labels[result.label]} ${percent(result.scores[result.label])}`;
    element("list").prepend(row);
    while (element("list").children.length > LISTED) {
      element("list").lastChild.remove();
    }
  }
}

/** int16 samples in the order they were classified, the first KEPT_SECONDS of them. */
class Kept {
  constructor(model) {
    this.limit = KEPT_SECONDS * model.sampleRate;
    this.clear();
  }

  clear() {
    this.pieces = [];
    this.length = 0;
  }

  add(samples) {
    const piece = samples.slice(0, Math.max(0, this.limit - this.length));
    this.pieces.push(piece);
    this.length += piece.length;
  }

  all() {
    const whole = new Int16Array(this.length);
    let at = 0;
    for (const piece of this.pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }
}

/** Bytes of the golden outputs that differ. */
function goldenDifferences(classifier, golden) {
  let different = 0;
  golden.inputs.forEach((input, i) => {
    const got = classifier.invoke(input);
    different += golden.outputs[i].reduce((sum, code, at) => sum + (code !== got[at]), 0);
  });
  classifier.begin();
  return different;
}

function say(text, state = "") {
  element("status").textContent = text;
  element("status").className = state;
}

/** The WAV file's samples as the network takes them; one of about a clip's length is cut, or filled with zeros. */
function samplesOf(wav, model) {
  const { sampleRate, clipSamples } = model;
  if (wav.sampleRate !== sampleRate) {
    const rates = `expected ${number.format(sampleRate)} Hz, got ${number.format(wav.sampleRate)} Hz`;
    throw new Error(`${rates}. This page does not resample; "tinyscene run" does, and so do audio editors.`);
  }
  const missing = clipSamples - wav.samples.length;
  if (Math.abs(missing) <= Math.floor(clipSamples / CLIP_TOLERANCE)) {
    const clip = new Int16Array(clipSamples);
    clip.set(wav.samples.subarray(0, clipSamples));
    return clip;
  }
  if (missing > 0) {
    throw new Error(`it is shorter than a clip of ${clipSamples / sampleRate} s`);
  }
  return wav.samples;
}

class Page {
  #picture;
  #results;
  #kept;
  #microphone = null;
  #source = 0; // the number of the source that is classified; a newer one ends an older one
  #capture;

  /** What tests and the console read: every result since the source began, and the seconds of computing. */
  results = [];
  seconds = 0;

  constructor(classifier, capture) {
    this.classifier = classifier;
    this.model = classifier.model;
    this.#capture = capture;
    this.#picture = new LogMelPicture(element("picture"), this.model);
    this.#results = new Results(this.model);
    this.#kept = new Kept(this.model);
    element("microphone").addEventListener("click", () => void this.#toggle());
    element("file").addEventListener("change", ({ target }) => void this.#opened(target.files[0]));
    element("save").addEventListener("click", () => this.#save());
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      void this.#opened(event.dataTransfer.files[0]);
    });
    for (const id of ["microphone", "file"]) {
      element(id).disabled = false;
    }
  }

  /** The samples that were classified since the source began. */
  samples() {
    return this.#kept.all();
  }

  #begin() {
    this.#microphone?.close();
    this.#microphone = null;
    element("microphone").textContent = "Use the microphone";
    this.classifier.begin();
    this.#picture.clear();
    this.#results.clear();
    this.#kept.clear();
    this.results = [];
    this.seconds = 0;
    element("save").disabled = true;
    return ++this.#source;
  }

  #classify(samples) {
    const begin = performance.now();
    const results = this.classifier.push(samples, (codes) => this.#picture.add(codes));
    this.seconds += (performance.now() - begin) / 1000;
    this.#kept.add(samples);
    this.results.push(...results);
    results.forEach((result) => this.#results.show(result));
    element("save").disabled = this.#kept.length === 0;
  }

  #speed() {
    const audio = this.#kept.length / this.model.sampleRate;
    return `${((1000 * this.seconds) / audio).toFixed(1)} ms of computing per second of audio`;
  }

  async #opened(file) {
    if (file === undefined) {
      return;
    }
    const source = this.#begin();
    try {
      const wav = readWav(new Uint8Array(await file.arrayBuffer()));
      const samples = samplesOf(wav, this.model);
      for (let at = 0; at < samples.length && source === this.#source; at += this.model.hopSamples) {
        this.#classify(samples.subarray(at, at + this.model.hopSamples));
        await new Promise((resolve) => setTimeout(resolve)); // so that the page is drawn
      }
      const mixed = wav.channels > 1 ? `, ${wav.channels} channels mixed down to mono` : "";
      if (source === this.#source) {
        say(`${file.name}: ${wav.encoding}${mixed}; ${this.results.length} results, ${this.#speed()}`, "done");
      }
    } catch (problem) {
      say(`${file.name}: ${problem.message}`, "failed");
    }
    element("file").value = "";
  }

  async #toggle() {
    if (this.#microphone !== null) {
      this.#microphone.close();
      this.#microphone = null;
      element("microphone").textContent = "Use the microphone";
      say(`Microphone: ${this.results.length} results, ${this.#speed()}`, "done");
      return;
    }
    const source = this.#begin();
    const { sampleRate } = this.model;
    say("Waiting for the microphone …");
    try {
      const listen = (samples) => source === this.#source && this.#microphone !== null && this.#classify(samples);
      const microphone = await Microphone.open(sampleRate, listen, this.#capture);
      if (source !== this.#source) {
        microphone.close();
        return;
      }
      this.#microphone = microphone;
      element("microphone").textContent = "Stop";
      const rate = this.#microphone.deviceRate;
      const resampled = rate && rate !== sampleRate ? `, resampled by the browser from ${number.format(rate)} Hz` : "";
      const kept = `the first ${KEPT_SECONDS / 60} minutes are kept in this page only`;
      say(`Microphone: ${number.format(sampleRate)} Hz${resampled}; ${kept}`, "live");
    } catch (problem) {
      say(problem.message, "failed");
    }
  }

  #save() {
    const link = document.createElement("a");
    const wav = writeWav(this.samples(), this.model.sampleRate);
    link.href = URL.createObjectURL(new Blob([wav], { type: "audio/wav" }));
    link.download = "classified.wav";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}

function describe(model, moduleBytes) {
  document.title = `${model.name} – tinyscene`;
  element("name").textContent = model.name;
  const hop = model.hopSamples / model.sampleRate;
  const facts = [
    `${number.format(model.sampleRate)} Hz, a result every ${hop} s, smoothed over ${model.smoothedHops}`,
    `log-mel of ${model.bands} bands and ${model.frames} columns in ${model.arithmetic} arithmetic`,
    `int8, rounding ${model.rounding}, ${number.format(moduleBytes)} B of WebAssembly`,
    `digest ${model.digest.slice(0, 16)}, ${model.generator}`,
  ];
  element("facts").replaceChildren(
    ...facts.map((fact) => {
      const row = document.createElement("li");
      row.textContent = fact;
      return row;
    }),
  );
}

/**
 * Start the page for a model and its module. golden: codes of inputs and outputs that the module must reproduce.
 * capture: the URL of capture.js. Returns the page, or null when the self-test failed, which the page shows.
 */
export async function startPage({ model, module, golden = { inputs: [], outputs: [] }, capture }) {
  describe(model, module.length);
  const verdict = element("verdict");
  try {
    const classifier = await Classifier.create(model, module);
    classifier.checkConstants();
    const different = goldenDifferences(classifier, golden);
    const bytes = golden.outputs.reduce((sum, output) => sum + output.length, 0);
    const vectors = `${golden.inputs.length} golden vectors, ${number.format(bytes)} bytes of output`;
    if (different > 0) {
      throw new Error(`${vectors}, ${different} different`);
    }
    const extent = golden.inputs.length > 0 ? `; ${vectors}, 0 different` : "";
    verdict.textContent = `Self-test passed: constants, one generated input${extent}`;
    verdict.className = "done";
    return new Page(classifier, capture);
  } catch (problem) {
    verdict.textContent = `Self-test FAILED: ${problem.message}`;
    verdict.className = "failed";
    return null;
  }
}
