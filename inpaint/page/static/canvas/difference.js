/**
 * What a step changed in a mask: the bytes before XOR the bytes after, within a box, packed. XOR takes a step back
 * and takes it again, so one record serves undo and redo, and a stroke on a large photo takes some kilobytes.
 *
 * @typedef {{left: number, right: number, top: number, bottom: number, packed: Uint8Array}} Difference
 *     bytes left <= x < right of the rows top <= y < bottom
 */

import { isEmptyBox, unite } from "./box.js";

/** The last finished state of a mask beside the mask itself. */
export class Ledger {
  /** @param {import("./mask.js").Mask} mask */
  constructor(mask) {
    this.mask = mask;
    this.finished = mask.bits.slice();
    /** @type {import("./box.js").Box | null} */
    this.changed = null;
  }

  /** Note that a box of the mask has changed. */
  note(/** @type {import("./box.js").Box} */ box) {
    this.changed = unite(this.changed, box);
  }

  /** Finish a step: what it changed, or null where nothing did. */
  commit() {
    if (isEmptyBox(this.changed)) return null;
    const { x0, x1, y0: top, y1: bottom } = this.changed;
    const { bits, stride } = this.mask;
    const left = x0 >> 3;
    const right = (x1 + 7) >> 3;
    const width = right - left;
    const bytes = new Uint8Array(width * (bottom - top));
    let some = 0;
    for (let y = top, to = 0; y < bottom; y++) {
      for (let at = y * stride + left, end = at + width; at < end; at++, to++) {
        some |= bytes[to] = bits[at] ^ this.finished[at];
        this.finished[at] = bits[at];
      }
    }
    this.changed = null;
    return some ? { left, right, top, bottom, packed: pack(bytes) } : null;
  }

  /** Go back to the last finished state. */
  revert() {
    const box = this.changed;
    if (isEmptyBox(box)) return;
    const { bits, stride } = this.mask;
    for (let y = box.y0; y < box.y1; y++) {
      const start = y * stride + (box.x0 >> 3);
      const end = y * stride + ((box.x1 + 7) >> 3);
      bits.set(this.finished.subarray(start, end), start);
    }
    this.mask.touch(box);
    this.changed = null;
  }

  /** Take a finished step back, or take it again. */
  apply(/** @type {Difference} */ { left, right, top, bottom, packed }) {
    const { bits, stride } = this.mask;
    const width = right - left;
    const bytes = unpack(packed, width * (bottom - top));
    for (let y = top, from = 0; y < bottom; y++) {
      for (let at = y * stride + left, end = at + width; at < end; at++, from++) {
        bits[at] ^= bytes[from];
        this.finished[at] = bits[at];
      }
    }
    this.mask.touch({ x0: left * 8, x1: right * 8, y0: top, y1: bottom });
    this.changed = null;
  }
}

/**
 * Pack bytes: each part is a number, 2 * length + kind, in bytes of 7 bits, and then one byte that repeats (kind 1)
 * or as many bytes as they are (kind 0).
 *
 * @param {Uint8Array} bytes
 */
export function pack(bytes) {
  let out = new Uint8Array(1024);
  let size = 0;
  const reserve = (more) => {
    if (size + more <= out.length) return;
    const larger = new Uint8Array(Math.max(out.length * 2, size + more));
    larger.set(out.subarray(0, size));
    out = larger;
  };
  const writeNumber = (number) => {
    reserve(5);
    for (; number >= 128; number = Math.floor(number / 128)) out[size++] = (number % 128) | 128;
    out[size++] = number;
  };
  const writeBytes = (from, to) => {
    if (from === to) return;
    writeNumber(2 * (to - from));
    reserve(to - from);
    out.set(bytes.subarray(from, to), size);
    size += to - from;
  };
  let written = 0;
  for (let at = 0; at < bytes.length; ) {
    let end = at + 1;
    while (end < bytes.length && bytes[end] === bytes[at]) end++;
    if (end - at >= 4) {
      writeBytes(written, at);
      writeNumber(2 * (end - at) + 1);
      reserve(1);
      out[size++] = bytes[at];
      written = end;
    }
    at = end;
  }
  writeBytes(written, bytes.length);
  return out.slice(0, size);
}

/** Undo `pack`. @param {Uint8Array} packed @param {number} length */
export function unpack(packed, length) {
  const bytes = new Uint8Array(length);
  for (let at = 0, to = 0; at < packed.length; ) {
    let number = 0;
    for (let unit = 1; ; unit *= 128) {
      const byte = packed[at++];
      number += (byte & 127) * unit;
      if (byte < 128) break;
    }
    const size = Math.floor(number / 2);
    if (number % 2) bytes.fill(packed[at++], to, to + size);
    else {
      bytes.set(packed.subarray(at, at + size), to);
      at += size;
    }
    to += size;
  }
  return bytes;
}
