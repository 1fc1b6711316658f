/** A line drawn around something, closed by a straight line to its start. */

import { paintPolygon } from "../raster.js";

export class LassoStroke {
  /** @param {import("./index.js").Surface} surface */
  constructor({ mask, value, outline }) {
    Object.assign(this, { mask, value, outline });
  }

  begin(point) {
    this.points = [point];
  }

  move(point) {
    this.points.push(point);
    this.outline(this.points);
  }

  end() {
    if (this.points.length > 2) paintPolygon(this.mask, this.points, this.value);
  }
}
