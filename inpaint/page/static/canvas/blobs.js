/** Blobs taken out of an object and put back, so that they can be stored by themselves. */

/**
 * A copy of an object of plain objects, arrays and values, with null in place of each Blob. What occurs twice in the
 * object is one thing in the copy, too.
 *
 * @param {any} value
 * @returns {{value: any, blobs: {path: string[], blob: Blob}[]}} the copy, and where which Blob was
 */
export function takeBlobs(value) {
  const blobs = [];
  const copies = new Map();
  const copy = (part, path) => {
    if (part instanceof Blob) {
      blobs.push({ path, blob: part });
      return null;
    }
    if (typeof part !== "object" || part === null) return part;
    if (!copies.has(part)) {
      const made = Array.isArray(part) ? [] : {};
      copies.set(part, made);
      for (const [key, child] of Object.entries(part)) made[key] = copy(child, [...path, key]);
    }
    return copies.get(part);
  };
  return { value: copy(value, []), blobs };
}

/** Put Blobs back where they were. */
export function putBlobs(/** @type {any} */ value, /** @type {{path: string[], blob: Blob}[]} */ blobs) {
  for (const { path, blob } of blobs) {
    const last = path.at(-1);
    path.slice(0, -1).reduce((part, key) => part[key], value)[last] = blob;
  }
  return value;
}
