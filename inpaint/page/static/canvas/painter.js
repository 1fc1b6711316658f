/** The tool in hand, the brush's size and the stroke that is being drawn. */

import { COMMANDS } from "./commands.js";
import { TOOLS } from "./tools/index.js";

export const MIN_BRUSH = 1;
export const MAX_BRUSH = 200;

export class Painter {
  /** @param {import("./maskcanvas.js").MaskCanvas} canvas @param {number} brush */
  constructor(canvas, brush) {
    this.canvas = canvas;
    this.tool = "brush";
    this.brush = brush;
    /** @type {import("./tools/index.js").Stroke | null} */
    this.stroke = null;
    /** Whether the stroke takes away. */
    this.erases = false;
  }

  setTool(/** @type {string} */ name) {
    if (!Object.hasOwn(TOOLS, name)) {
      throw new RangeError(`no tool ${name}; there are ${Object.keys(TOOLS).join(", ")}`);
    }
    this.end();
    this.tool = name;
    this.canvas.sight.drawCursor();
    this.canvas.emit("tool", { tool: name });
    this.canvas.say(this.canvas.words.tool(COMMANDS[name].title));
  }

  /** Set the brush's diameter, in pixels of the photo. A stroke that is being drawn keeps its own. */
  setBrush(/** @type {number} */ pixels) {
    this.brush = Math.round(Math.min(MAX_BRUSH, Math.max(MIN_BRUSH, pixels)));
    this.canvas.sight.drawCursor();
    this.canvas.emit("brush", { brush: this.brush });
    this.canvas.say(this.canvas.words.brush(this.brush));
  }

  /** Make the brush a step smaller or larger: by 1 px, from 10 on by 5, from 50 on by 10. */
  stepBrush(/** @type {-1 | 1} */ way) {
    const from = this.brush + (way < 0 ? -1 : 0);
    this.setBrush(this.brush + way * (from < 10 ? 1 : from < 50 ? 5 : 10));
  }

  /** Begin a stroke at a point of the photo; whether that is possible now. */
  begin(/** @type {{x: number, y: number}} */ point, { erase = false } = {}) {
    const { canvas } = this;
    if (this.stroke || !canvas.isFree() || canvas.isComparing) return false;
    const { stroke: Stroke, value } = TOOLS[this.tool];
    this.erases = erase || value === 0;
    const outline = (points) => canvas.view.drawOutline(points);
    this.stroke = new Stroke({ mask: canvas.mask, size: this.brush, value: erase ? 0 : value, outline });
    this.stroke.begin(point);
    return true;
  }

  move(/** @type {{x: number, y: number}[]} */ points) {
    for (const point of points) this.stroke?.move(point);
  }

  /**
   * Finish the stroke, if one is being drawn: a step.
   *
   * @param {{lifted?: boolean}} options whether the hand ended it, and not something that came in between
   */
  end({ lifted = false } = {}) {
    if (!this.stroke) return;
    const { canvas, tool, erases } = this;
    this.stroke.end();
    this.stroke = null;
    canvas.view.drawOutline(null);
    const changed = canvas.editor.commit(tool);
    if (changed) canvas.changed(tool, canvas.words.share(canvas.mask.share()));
    canvas.emit("strokeend", { tool, erases, changed, lifted });
  }

  /** Forget the stroke that is being drawn; whether there was one. */
  cancel({ quiet = false } = {}) {
    if (!this.stroke) return false;
    const { canvas } = this;
    this.stroke = null;
    canvas.view.drawOutline(null);
    canvas.editor.revert();
    canvas.pointer.drop();
    canvas.keyboard.drop();
    if (!quiet) canvas.say(canvas.words.cancelled);
    return true;
  }
}
