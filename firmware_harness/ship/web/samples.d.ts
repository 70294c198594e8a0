/** Mono int16 samples of a WAV file, at the file's own rate. */
export interface Wav {
  readonly sampleRate: number;
  readonly channels: number;
  readonly encoding: string;
  readonly samples: Int16Array;
}

/** Samples in [-1, 1] as 16-bit PCM: scaled, rounded half to even, clipped. */
export function toInt16(samples: ArrayLike<number>): Int16Array;
/** @throws Error: not a WAV file, another encoding, no samples, samples that are not finite, or a damaged file. */
export function readWav(bytes: Uint8Array): Wav;
/** 16-bit mono samples as a WAV file. */
export function writeWav(samples: Int16Array, sampleRate: number): Uint8Array;
