/**
 * All that is needed to go on with a photo later: its file, the fills with the mask of each, and the mask.
 *
 * @typedef {{
 *   id: string, name: string, photo: Blob,
 *   fills: {blob: Blob, mask: import("./runlength.js").RunLength}[],
 *   mask: import("./runlength.js").RunLength,
 * }} Snapshot
 */

import { addRuns } from "./runlength.js";

/** @param {import("./maskcanvas.js").MaskCanvas} canvas @returns {Promise<Snapshot | null>} */
export async function snapshot(canvas) {
  if (!canvas.isOpen) return null;
  const { id, name, photo, mask, editor } = canvas;
  const state = { id, name, mask: mask.toRunLength() };
  const fills = editor.history.present
    .filter((step) => step.fill)
    .map(({ fill }) => ({ blob: fill.picture.blob, mask: fill.mask }));
  photo.blob ??= await photo.toBlob(); // once, where it came as a bitmap
  return { ...state, fills, photo: photo.blob };
}

/**
 * Open a snapshot: the photo, then each fill as the step that it was, then the mask as one step.
 *
 * @param {import("./maskcanvas.js").MaskCanvas} canvas
 * @param {Snapshot} draft
 */
export async function restore(canvas, { id, name, photo, fills, mask }) {
  if (!(await canvas.openPhoto(photo, { id, name }))) return false;
  for (const fill of fills) {
    canvas.edit("load", (own) => addRuns(own, fill.mask));
    if (!(await canvas.showFill(fill.blob, { id }))) return false;
  }
  canvas.edit("load", (own) => addRuns(own, mask));
  return true;
}
