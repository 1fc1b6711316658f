/**
 * A binary mask at the photo's own resolution: 1 (white) = fill, 0 = keep.
 *
 * One bit a pixel, rows padded to bytes, the leftmost pixel in a byte's highest bit. That is the layout of a
 * 1-bit PNG, and a photo of 50 megapixels takes 6 MB. The padding bits are always 0.
 */

import { boxOf, clip, isEmptyBox } from "./box.js";
import { encodeBilevel } from "./png.js";
import { toRuns } from "./runlength.js";

export class Mask {
  /** @param {number} width @param {number} height */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.stride = (width + 7) >> 3;
    /** Its buffer is a multiple of four bytes long, so that it can be counted in words. */
    this.bits = new Uint8Array(new ArrayBuffer((this.stride * height + 3) & ~3), 0, this.stride * height);
    /** @type {((box: import("./box.js").Box) => void) | null} Told of every box that changed. */
    this.onchange = null;
    /** @type {number | null} */
    this.counted = 0;
  }

  /** Whether a pixel is to be filled. */
  get(x, y) {
    return ((this.bits[y * this.stride + (x >> 3)] >> (7 - (x & 7))) & 1) === 1;
  }

  /** Set the pixels x0 <= x < x1 of a row; what lies outside of the mask is left out. Call `touch` afterwards. */
  fillSpan(y, x0, x1, value) {
    if (x0 < 0) x0 = 0;
    if (x1 > this.width) x1 = this.width;
    if (x0 >= x1 || y < 0 || y >= this.height) return;
    const { bits } = this;
    const first = y * this.stride + (x0 >> 3);
    const last = y * this.stride + ((x1 - 1) >> 3);
    const head = 0xff >> (x0 & 7);
    const tail = (0xff << (7 - ((x1 - 1) & 7))) & 0xff;
    const set = (at, some) => (bits[at] = value ? bits[at] | some : bits[at] & ~some);
    if (first === last) {
      set(first, head & tail);
      return;
    }
    set(first, head);
    bits.fill(value ? 0xff : 0, first + 1, last);
    set(last, tail);
  }

  /** Set all pixels of a box. */
  fillBox(/** @type {import("./box.js").Box} */ box, value) {
    const part = clip(box, this.width, this.height);
    for (let y = part.y0; y < part.y1; y++) this.fillSpan(y, part.x0, part.x1, value);
    this.touch(part);
  }

  /** Turn every pixel over. */
  invert() {
    const { bits, stride, width } = this;
    for (let i = 0; i < bits.length; i++) bits[i] ^= 0xff;
    const padding = (0xff << (stride * 8 - width)) & 0xff;
    for (let at = stride - 1; at < bits.length; at += stride) bits[at] &= padding;
    this.touch(this.box);
  }

  /** Add another mask of the same size. */
  add(/** @type {Uint8Array} */ bits) {
    for (let i = 0; i < bits.length; i++) this.bits[i] |= bits[i];
    this.touch(this.box);
  }

  /** Say that a box has changed. */
  touch(/** @type {import("./box.js").Box} */ box) {
    const part = clip(box, this.width, this.height);
    if (isEmptyBox(part)) return;
    this.counted = null;
    this.onchange?.(part);
  }

  /** The whole mask. */
  get box() {
    return boxOf(0, 0, this.width, this.height);
  }

  /** The smallest box around all pixels to be filled; see `boundsOf`. */
  bounds() {
    return boundsOf(this);
  }

  /** The number of pixels to be filled. */
  count() {
    if (this.counted !== null) return this.counted;
    const words = new Uint32Array(this.bits.buffer);
    let sum = 0;
    for (let i = 0; i < words.length; i++) {
      let word = words[i];
      if (word === 0) continue;
      word -= (word >>> 1) & 0x55555555;
      word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
      sum += Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
    }
    this.counted = sum;
    return sum;
  }

  /** Whether nothing is to be filled. */
  isEmpty() {
    return this.count() === 0;
  }

  /** The share of the photo that is to be filled, 0 to 1. */
  share() {
    return this.count() / (this.width * this.height);
  }

  /** A 1-bit PNG of the photo's size, white = fill. */
  toPNG() {
    return encodeBilevel(this.bits, this.width, this.height);
  }

  /** The mask as the lengths of its runs; see runlength.js. */
  toRunLength() {
    return { width: this.width, height: this.height, runs: toRuns(this) };
  }
}

/** The smallest box around all set pixels of a bitmap, to whole bytes in x; null where there is none. */
export function boundsOf({ bits, stride, width, height }) {
  let [first, last, top, bottom] = [stride, -1, -1, -1];
  for (let y = 0, row = 0; y < height; y++, row += stride) {
    let left = 0;
    while (left < stride && bits[row + left] === 0) left++;
    if (left === stride) continue;
    let right = stride - 1;
    while (bits[row + right] === 0) right--;
    if (top < 0) top = y;
    bottom = y;
    if (left < first) first = left;
    if (right > last) last = right;
  }
  return top < 0 ? null : boxOf(first * 8, top, Math.min((last + 1) * 8, width), bottom + 1);
}
