// Files beside this one, in browsers and in Node.js.

/** The bytes of a file; throws Error where it cannot be read. */
export async function bytesOf(name) {
  const url = new URL(`./${name}`, import.meta.url);
  if (url.protocol === "file:" && globalThis.process?.versions?.node) {
    const { readFile } = await import("node:fs/promises");
    return readFile(url);
  }
  const response = await fetch(url);
  if (!response.ok) {
    throw new Error(`${url}: ${response.status} ${response.statusText}`);
  }
  return new Uint8Array(await response.arrayBuffer());
}
