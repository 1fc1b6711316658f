/** The fills of one photo, to go back to, and which of them are of the same hole. */

import { Mask } from "../canvas/mask.js";
import { addRuns } from "../canvas/runlength.js";

/** What all fills that are kept may take; the oldest go first. */
const LIMIT_BYTES = 300e6;
const MOST = 24;

/**
 * @typedef {{model: string, title: string, detail: string, grow: number, seed: number}} Settings
 * @typedef {{width: number, height: number, runs: number[]}} RunLength
 * @typedef {{input: Blob, runs: RunLength}} Hole a picture and what is painted on it
 * @typedef {Hole & {blob: Blob, settings: Settings | null, seed: number, number: number}} Fill
 */

const sameRuns = (a, b) => a.runs.length === b.runs.length && a.runs.every((length, at) => length === b.runs[at]);

/** Whether two fills, or holes, are of the same picture and mask. */
export const isSameHole = (/** @type {Hole} */ a, /** @type {Hole} */ b) => a.input === b.input && sameRuns(a.runs, b.runs);

export class Fills {
  constructor() {
    /** @type {Fill[]} oldest first */
    this.all = [];
    this.count = 0;
  }

  /** The fills that were kept in the browser. */
  static restored(/** @type {ReturnType<Fills["kept"]>} */ { count, all }) {
    const fills = new Fills();
    fills.count = count;
    const inputs = new Map();
    for (const fill of [...all].reverse()) {
      if (!fill.blob) continue; // there was no room for it
      if (!fill.input) {
        // There was none for what was filled. Outside the hole, any of its fills is the same picture.
        if (!inputs.has(fill.runs)) inputs.set(fill.runs, fill.blob);
        fill.input = inputs.get(fill.runs);
      }
      fills.all.push(fill);
    }
    return fills;
  }

  /** What to keep in the browser; the newest fill first, as there may be no room for all. */
  kept() {
    return { count: this.count, all: [...this.all].reverse() };
  }

  /** The fill that a picture is; undefined where it is none. */
  of(/** @type {Blob | null | undefined} */ blob) {
    return blob ? this.all.find((fill) => fill.blob === blob) : undefined;
  }

  /** Keep a fill; one with the same settings of the same hole goes. */
  add(/** @type {Omit<Fill, "number">} */ fill) {
    const key = JSON.stringify(fill.settings);
    this.all = this.all.filter(
      (other) => !(other.settings && JSON.stringify(other.settings) === key && isSameHole(other, fill)),
    );
    this.all.push({ ...fill, number: ++this.count });
    let bytes = this.all.reduce((sum, { blob }) => sum + blob.size, 0);
    while (this.all.length > 1 && (bytes > LIMIT_BYTES || this.all.length > MOST)) bytes -= this.all.shift().blob.size;
  }

  /** The fills of a hole. */
  ofHole(/** @type {Hole} */ hole) {
    return this.all.filter((fill) => isSameHole(fill, hole));
  }

  /** A seed that no fill of a hole has. */
  nextSeed(/** @type {Hole} */ hole) {
    return 1 + Math.max(-1, ...this.ofHole(hole).map(({ seed }) => seed));
  }
}

/** The fills of a draft that tells no more than the canvas's own steps. A fill without a mask of its own was another one
 * of the hole before. */
export function restoredFills(/** @type {import("../canvas/snapshot.js").Snapshot} */ draft) {
  const fills = new Fills();
  let picture = draft.photo;
  /** @type {Hole | null} */
  let hole = null;
  let seed = 0;
  for (const { blob, mask } of draft.fills) {
    const isEmpty = mask.runs.length < 2;
    if (!isEmpty || !hole) {
      hole = { input: picture, runs: mask };
      seed = 0;
    }
    fills.add({ ...hole, blob, settings: null, seed: seed++ });
    picture = blob;
  }
  return fills;
}

/** A mask as a PNG file. */
export function maskFile(/** @type {RunLength} */ runs) {
  const mask = new Mask(runs.width, runs.height);
  addRuns(mask, runs);
  return mask.toPNG();
}

/** The smallest box around what is painted. */
export function boxOf({ width, runs }) {
  let at = 0;
  let left = width;
  let right = 0;
  let top = Infinity;
  let bottom = 0;
  runs.forEach((length, index) => {
    if (index % 2 === 1 && length > 0) {
      const end = at + length - 1;
      const [first, last] = [Math.floor(at / width), Math.floor(end / width)];
      top = Math.min(top, first);
      bottom = Math.max(bottom, last + 1);
      left = first === last ? Math.min(left, at % width) : 0;
      right = first === last ? Math.max(right, (end % width) + 1) : width;
    }
    at += length;
  });
  return { left, top, right, bottom };
}
