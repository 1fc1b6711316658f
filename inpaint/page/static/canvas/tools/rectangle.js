/** A rectangle from one corner to the opposite one. */

import { paintBox, spanned } from "../raster.js";

export class RectangleStroke {
  /** @param {import("./index.js").Surface} surface */
  constructor({ mask, value, outline }) {
    Object.assign(this, { mask, value, outline });
  }

  begin(point) {
    this.start = point;
    this.move(point);
  }

  move(point) {
    this.last = point;
    const { x0, y0, x1, y1 } = spanned(this.start, point);
    this.outline([
      { x: x0, y: y0 },
      { x: x1, y: y0 },
      { x: x1, y: y1 },
      { x: x0, y: y1 },
    ]);
  }

  end() {
    // A click without a way is a slip, not a rectangle.
    if (this.start.x === this.last.x && this.start.y === this.last.y) return;
    paintBox(this.mask, this.start, this.last, this.value);
  }
}
