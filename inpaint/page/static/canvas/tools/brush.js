/** A stroke of the brush, or of the eraser. */

import { paintLine } from "../raster.js";

export class BrushStroke {
  /** @param {import("./index.js").Surface} surface */
  constructor({ mask, size, value }) {
    Object.assign(this, { mask, size, value });
  }

  begin(point) {
    this.last = point;
    paintLine(this.mask, point, point, this.size, this.value);
  }

  move(point) {
    paintLine(this.mask, this.last, point, this.size, this.value);
    this.last = point;
  }

  end() {}
}
