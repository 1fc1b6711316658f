/** Files: what the user saves, and what kind a photo is of. */

/** Let the browser save a file. */
export function saveFile(/** @type {Blob} */ blob, /** @type {string} */ name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A file's name without folder and suffix. */
export const stemOf = (/** @type {string} */ name) => name.replace(/^.*[\\/]/, "").replace(/\.[^.]*$/, "") || "photo";

const SIGNATURES = [
  ["JPEG", /^\xff\xd8\xff/],
  ["PNG", /^\x89PNG/],
  ["WebP", /^RIFF[^]{4}WEBP/],
  ["GIF", /^GIF8/],
  ["BMP", /^BM/],
  ["TIFF", /^(II[*+]\0|MM\0[*+])/],
];

/** The format that a file's first bytes tell; empty where it is none of the usual ones. */
export async function formatOf(/** @type {Blob} */ blob) {
  const start = String.fromCharCode(...new Uint8Array(await blob.slice(0, 12).arrayBuffer()));
  return SIGNATURES.find(([, pattern]) => pattern.test(start))?.[0] ?? "";
}
