/**
 * Boxes of pixels: x0 <= x < x1, y0 <= y < y1.
 *
 * @typedef {{x0: number, y0: number, x1: number, y1: number}} Box
 */

/** @returns {Box} */
export function boxOf(x0, y0, x1, y1) {
  return { x0, y0, x1, y1 };
}

/** Whether a box holds no pixel; null counts as such a box. */
export function isEmptyBox(/** @type {Box | null} */ box) {
  return !box || box.x0 >= box.x1 || box.y0 >= box.y1;
}

/** The smallest box around two; either may be empty. */
export function unite(/** @type {Box | null} */ a, /** @type {Box | null} */ b) {
  if (isEmptyBox(a)) return isEmptyBox(b) ? null : b;
  if (isEmptyBox(b)) return a;
  return boxOf(
    Math.min(a.x0, b.x0),
    Math.min(a.y0, b.y0),
    Math.max(a.x1, b.x1),
    Math.max(a.y1, b.y1),
  );
}

/** The part of a box within [0, width) x [0, height). */
export function clip(/** @type {Box} */ box, width, height) {
  return boxOf(
    Math.max(0, box.x0),
    Math.max(0, box.y0),
    Math.min(width, box.x1),
    Math.min(height, box.y1),
  );
}

/** A box with a margin on every side. */
export function widen(/** @type {Box} */ box, margin) {
  return boxOf(box.x0 - margin, box.y0 - margin, box.x1 + margin, box.y1 + margin);
}
