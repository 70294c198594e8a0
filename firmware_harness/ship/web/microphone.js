// The microphone at the network's own rate, as int16 samples.
//
// The browser converts the device's rate to that of the audio context. Refuses a browser that gives a context of another
// rate, and a page that the browser allows no microphone: it demands https, localhost or a file.
import { toInt16 } from "./samples.js";

export class Microphone {
  #context;
  #stream;

  /**
   * Ask for the microphone, and call onSamples with each block. Echo cancellation, noise suppression and gain control
   * are switched off: the network is trained on what a microphone records. capture is the URL of capture.js.
   */
  static async open(sampleRate, onSamples, capture = new URL("./capture.js", import.meta.url)) {
    if (!globalThis.navigator?.mediaDevices) {
      throw new Error("microphone: the browser offers it to pages from https, localhost and files only");
    }
    const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    const context = new AudioContext({ sampleRate });
    const microphone = new Microphone(context, stream);
    try {
      if (context.sampleRate !== sampleRate) {
        throw new Error(`microphone: expected ${sampleRate} Hz, the browser gives ${context.sampleRate} Hz`);
      }
      await context.audioWorklet.addModule(capture);
      const mono = { channelCount: 1, channelCountMode: "explicit", numberOfInputs: 1, numberOfOutputs: 0 };
      const node = new AudioWorkletNode(context, "tinyscene-capture", mono);
      node.port.onmessage = ({ data }) => onSamples(toInt16(data));
      context.createMediaStreamSource(stream).connect(node);
      await context.resume();
    } catch (problem) {
      microphone.close();
      throw problem;
    }
    return microphone;
  }

  constructor(context, stream) {
    this.#context = context;
    this.#stream = stream;
  }

  /** The device's own rate in Hz, where the browser says it; the browser has resampled it to the context's. */
  get deviceRate() {
    return this.#stream.getAudioTracks()[0]?.getSettings().sampleRate ?? null;
  }

  close() {
    this.#stream.getTracks().forEach((track) => track.stop());
    void this.#context.close();
  }
}
