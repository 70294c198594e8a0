export class Microphone {
  /**
   * Ask for the microphone and call onSamples with each block of int16 samples at sampleRate.
   * @throws Error: no microphone, no permission, or the browser has no audio context of that rate.
   */
  static open(sampleRate: number, onSamples: (samples: Int16Array) => void, capture?: URL | string): Promise<Microphone>;
  private constructor();
  /** Hz, or null where the browser does not say it. */
  readonly deviceRate: number | null;
  close(): void;
}
