/**
 * The tools by name. A stroke gets its points in photo pixels and paints into the mask; it is finished or reverted
 * by who began it.
 *
 * @typedef {{
 *   mask: import("../mask.js").Mask,
 *   size: number,
 *   value: 0 | 1,
 *   outline: (points: {x: number, y: number}[]) => void,
 * }} Surface the mask, the brush's diameter, what to paint (1, or 0 to erase) and where to draw a line meanwhile
 * @typedef {{begin(point): void, move(point): void, end(): void}} Stroke
 * @typedef {{stroke: new (surface: Surface) => Stroke, value: 0 | 1, sized: boolean}} Tool
 */

import { BrushStroke } from "./brush.js";
import { LassoStroke } from "./lasso.js";
import { RectangleStroke } from "./rectangle.js";

/** @type {Record<string, Tool>} */
export const TOOLS = {
  brush: { stroke: BrushStroke, value: 1, sized: true },
  eraser: { stroke: BrushStroke, value: 0, sized: true },
  rectangle: { stroke: RectangleStroke, value: 1, sized: false },
  lasso: { stroke: LassoStroke, value: 1, sized: false },
};
