/**
 * Growing and shrinking a mask by a distance in pixels, Euclidean between pixel centres.
 *
 * Grown by n: every pixel within n of a pixel of the mask. Shrunk by n: every pixel of the mask that has no pixel
 * of the photo outside of the mask within n; the photo's own rim takes nothing away. In two passes: each column says
 * how far above or below the nearest pixel is, then each row how far that lets it reach. The time does not depend on n.
 */

import { clip, isEmptyBox, widen } from "./box.js";

/** Rows worked on at once: bounds the memory for photos of any size. */
const BAND = 256;

/** The largest distance: distances are held in bytes, and 255 stands for none. */
export const MAX_GROW = 254;

/** Grow a mask by n pixels. */
export function grow(/** @type {import("./mask.js").Mask} */ mask, /** @type {number} */ n) {
  const bounds = mask.bounds();
  if (bounds) spread(mask, widen(bounds, n), n, 0);
}

/** Shrink a mask by n pixels: what is not mask grows. */
export function shrink(/** @type {import("./mask.js").Mask} */ mask, /** @type {number} */ n) {
  const bounds = mask.bounds();
  // Of what is not mask, the nearest pixel lies within the bounds or right beside them.
  if (bounds) spread(mask, widen(bounds, 1), n, 1);
}

/**
 * Grow the pixels of one kind within a box: those of the mask (turned 0) or all others (turned 1).
 *
 * @param {import("./mask.js").Mask} mask
 * @param {import("./box.js").Box} wanted
 * @param {number} n
 * @param {0 | 1} turned
 */
function spread(mask, wanted, n, turned) {
  const box = clip(wanted, mask.width, mask.height);
  if (isEmptyBox(box) || n < 1) return;
  box.x0 &= ~7;
  box.x1 = Math.min((box.x1 + 7) & ~7, mask.width);
  const source = mask.bits.slice();
  const width = box.x1 - box.x0;
  const reach = Uint8Array.from({ length: n + 1 }, (_, away) => Math.floor(Math.sqrt(n * n - away * away)));
  const near = new Uint8Array(BAND * width);
  const row = new Uint8Array(width);
  for (let top = box.y0; top < box.y1; top += BAND) {
    const bottom = Math.min(top + BAND, box.y1);
    nearestInColumns(near, source, mask.stride, box, top, bottom, n, turned);
    for (let y = top; y < bottom; y++) {
      reachAlongRow(row, near.subarray((y - top) * width, (y - top + 1) * width), n, reach);
      pack(mask.bits, y * mask.stride + (box.x0 >> 3), row, turned);
    }
  }
  mask.touch(box);
}

/** For each pixel of a band, how far the nearest pixel of its column is; more than n where there is none. */
function nearestInColumns(near, source, stride, box, top, bottom, n, turned) {
  const width = box.x1 - box.x0;
  const away = new Uint8Array(width);
  const step = (y) => {
    const start = y * stride + (box.x0 >> 3);
    for (let x = 0; x < width; x++) {
      const bit = ((source[start + (x >> 3)] >> (7 - (x & 7))) & 1) ^ turned;
      if (bit) away[x] = 0;
      else if (away[x] < 255) away[x]++;
    }
  };
  away.fill(255);
  for (let y = Math.max(box.y0, top - n); y < bottom; y++) {
    step(y);
    if (y >= top) near.set(away, (y - top) * width);
  }
  away.fill(255);
  for (let y = Math.min(box.y1, bottom + n) - 1; y >= top; y--) {
    step(y);
    if (y >= bottom) continue;
    const start = (y - top) * width;
    for (let x = 0; x < width; x++) if (away[x] < near[start + x]) near[start + x] = away[x];
  }
}

/** The pixels of a row that lie within n of a pixel, by how far each column's nearest is. */
function reachAlongRow(row, near, n, reach) {
  let limit = -1;
  for (let x = 0; x < near.length; x++) {
    if (near[x] <= n && x + reach[near[x]] > limit) limit = x + reach[near[x]];
    row[x] = x <= limit ? 1 : 0;
  }
  limit = near.length;
  for (let x = near.length - 1; x >= 0; x--) {
    if (near[x] <= n && x - reach[near[x]] < limit) limit = x - reach[near[x]];
    if (x >= limit) row[x] = 1;
  }
}

/** Write a row of pixels as bits, from the start of a byte on. */
function pack(bits, start, row, turned) {
  for (let x = 0; x < row.length; x += 8) {
    let byte = 0;
    for (let i = 0; i < 8; i++) byte = (byte << 1) | (x + i < row.length ? row[x + i] ^ turned : 0);
    bits[start + (x >> 3)] = byte;
  }
}
