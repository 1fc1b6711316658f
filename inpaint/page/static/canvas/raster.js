/**
 * Shapes to pixels. A pixel belongs to a shape where its centre lies in it: nothing is half painted.
 *
 * @typedef {{x: number, y: number}} Point in photo pixels; pixel (0, 0) covers 0 <= x < 1, 0 <= y < 1
 */

import { boxOf, clip } from "./box.js";

// Centres on the very rim belong to the shape, whatever rounding says.
const RIM = 1e-6;

/** Set the pixels of a row whose centres lie between two places. */
function fillBetween(mask, y, left, right, value) {
  mask.fillSpan(y, Math.ceil(left - 0.5 - RIM), Math.floor(right - 0.5 + RIM) + 1, value);
}

/** The middle of a brush's dot: so that a dot of one size has the same pixels wherever it is set. */
export function snap(/** @type {Point} */ { x, y }, /** @type {number} */ diameter) {
  if (diameter % 2 === 0) return { x: Math.round(x), y: Math.round(y) };
  return { x: Math.floor(x) + 0.5, y: Math.floor(y) + 0.5 };
}

/**
 * Paint a line with round ends; a dot where both ends are one.
 *
 * @param {import("./mask.js").Mask} mask
 * @param {Point} from @param {Point} to
 * @param {number} diameter in pixels, a whole number
 * @param {0 | 1} value
 */
export function paintLine(mask, from, to, diameter, value) {
  const a = snap(from, diameter);
  const b = snap(to, diameter);
  const radius = diameter / 2;
  const length = Math.hypot(b.x - a.x, b.y - a.y);
  const ux = length ? (b.x - a.x) / length : 1;
  const uy = length ? (b.y - a.y) / length : 0;
  const box = clip(
    boxOf(
      Math.floor(Math.min(a.x, b.x) - radius),
      Math.floor(Math.min(a.y, b.y) - radius),
      Math.ceil(Math.max(a.x, b.x) + radius),
      Math.ceil(Math.max(a.y, b.y) + radius),
    ),
    mask.width,
    mask.height,
  );
  for (let y = box.y0; y < box.y1; y++) {
    const middle = y + 0.5;
    let left = Infinity;
    let right = -Infinity;
    for (const end of [a, b]) {
      const across = radius * radius - (middle - end.y) ** 2;
      if (across < -RIM) continue;
      const half = Math.sqrt(Math.max(0, across));
      left = Math.min(left, end.x - half);
      right = Math.max(right, end.x + half);
    }
    // The line's body: along it between 0 and its length, across it within the radius.
    const along = between(a.x, (middle - a.y) * uy, ux, 0, length);
    const across = between(a.x, (middle - a.y) * ux, -uy, -radius, radius);
    const low = Math.max(along[0], across[0]);
    const high = Math.min(along[1], across[1]);
    if (low <= high) {
      left = Math.min(left, low);
      right = Math.max(right, high);
    }
    if (left <= right) fillBetween(mask, y, left, right, value);
  }
  mask.touch(box);
}

/** The x for which low <= (x - start) * slope + offset <= high. */
function between(start, offset, slope, low, high) {
  if (Math.abs(slope) < 1e-9) {
    return offset >= low - RIM && offset <= high + RIM ? [-Infinity, Infinity] : [Infinity, -Infinity];
  }
  const one = start + (low - offset) / slope;
  const other = start + (high - offset) / slope;
  return one < other ? [one, other] : [other, one];
}

/** Paint the box that two opposite corners span, the pixels under both corners included. */
export function paintBox(mask, /** @type {Point} */ a, /** @type {Point} */ b, value) {
  mask.fillBox(spanned(a, b), value);
}

/** The box of whole pixels from one corner's pixel to the other's. */
export function spanned(/** @type {Point} */ a, /** @type {Point} */ b) {
  return boxOf(
    Math.floor(Math.min(a.x, b.x)),
    Math.floor(Math.min(a.y, b.y)),
    Math.floor(Math.max(a.x, b.x)) + 1,
    Math.floor(Math.max(a.y, b.y)) + 1,
  );
}

/** Paint what a closed line goes around, also where it goes around it more than once. */
export function paintPolygon(mask, /** @type {Point[]} */ points, value) {
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  // Not Math.min(...xs): a long line has more points than a call may have arguments.
  const [low, high] = [(a, b) => Math.min(a, b), (a, b) => Math.max(a, b)];
  const box = clip(
    boxOf(
      Math.floor(xs.reduce(low)),
      Math.floor(ys.reduce(low)),
      Math.ceil(xs.reduce(high)) + 1,
      Math.ceil(ys.reduce(high)) + 1,
    ),
    mask.width,
    mask.height,
  );
  for (let y = box.y0; y < box.y1; y++) {
    const middle = y + 0.5;
    const crossings = [];
    for (let i = 0; i < points.length; i++) {
      const a = points[i];
      const b = points[(i + 1) % points.length];
      if (a.y <= middle === b.y <= middle) continue;
      crossings.push({ x: a.x + ((middle - a.y) / (b.y - a.y)) * (b.x - a.x), turn: a.y < b.y ? 1 : -1 });
    }
    crossings.sort((one, other) => one.x - other.x);
    let turns = 0;
    for (let i = 0; i + 1 < crossings.length; i++) {
      turns += crossings[i].turn;
      if (turns !== 0) fillBetween(mask, y, crossings[i].x, crossings[i + 1].x, value);
    }
  }
  mask.touch(box);
}
