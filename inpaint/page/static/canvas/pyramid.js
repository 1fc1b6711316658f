/**
 * Smaller and smaller copies of a mask for drawing it when zoomed out. A pixel of a level is set where any of the
 * four under it is, so that the thinnest stroke on a large photo is seen. All levels take a third of the mask's memory.
 */

import { clip, isEmptyBox, unite } from "./box.js";

/** Four bits for a byte: one for each pair of pixels. */
const HALVED = Uint8Array.from({ length: 256 }, (_, byte) => {
  const either = byte | (byte >> 1);
  return ((either >> 3) & 8) | ((either >> 2) & 4) | ((either >> 1) & 2) | (either & 1);
});

/** A mask's level: its bits and how many bytes a row has. @typedef {{bits: Uint8Array, stride: number, width: number, height: number}} Level */

export class Pyramid {
  /** @param {import("./mask.js").Mask} mask */
  constructor(mask) {
    /** @type {Level[]} */
    this.levels = [mask];
    /** @type {import("./box.js").Box | null} What has changed in the mask since the levels were made. */
    this.stale = null;
    for (let { width, height } = mask; Math.max(width, height) > 256; ) {
      width = (width + 1) >> 1;
      height = (height + 1) >> 1;
      const stride = (width + 7) >> 3;
      this.levels.push({ bits: new Uint8Array(stride * height), stride, width, height });
    }
  }

  /** Note that a box of the mask has changed. */
  note(/** @type {import("./box.js").Box} */ box) {
    this.stale = unite(this.stale, box);
  }

  /** The level whose pixels are at most one screen pixel large, and its number. */
  levelFor(/** @type {number} */ zoom) {
    this.update();
    const wanted = zoom >= 1 ? 0 : Math.floor(Math.log2(1 / zoom));
    const number = Math.min(wanted, this.levels.length - 1);
    return { level: this.levels[number], number };
  }

  update() {
    if (isEmptyBox(this.stale)) return;
    let box = this.stale;
    this.stale = null;
    for (let i = 1; i < this.levels.length; i++) {
      const level = this.levels[i];
      box = { x0: box.x0 >> 1, y0: box.y0 >> 1, x1: (box.x1 + 1) >> 1, y1: (box.y1 + 1) >> 1 };
      halve(this.levels[i - 1], level, clip(box, level.width, level.height));
    }
  }
}

/** Make a box of a level from the level below. */
function halve(/** @type {Level} */ from, /** @type {Level} */ to, box) {
  for (let y = box.y0; y < box.y1; y++) {
    const one = 2 * y * from.stride;
    const other = 2 * y + 1 < from.height ? one + from.stride : one;
    const end = Math.min((box.x1 + 7) >> 3, to.stride);
    for (let x = box.x0 >> 3; x < end; x++) {
      const high = HALVED[from.bits[one + 2 * x] | from.bits[other + 2 * x]];
      // The last byte of an odd row has no neighbour.
      const low = 2 * x + 1 < from.stride ? HALVED[from.bits[one + 2 * x + 1] | from.bits[other + 2 * x + 1]] : 0;
      to.bits[y * to.stride + x] = (high << 4) | low;
    }
  }
}
