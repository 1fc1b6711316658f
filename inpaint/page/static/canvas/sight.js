/** What is shown of the canvas and how: the zoom, the picture or the photo before, and the cursor. */

import { TOOLS } from "./tools/index.js";

export class Sight {
  /** @param {import("./maskcanvas.js").MaskCanvas} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.view = canvas.view;
    this.isComparing = false;
    /** @type {{x: number, y: number} | null} Where the mouse is on the stage. */
    this.pointer = null;
    this.view.onmove = () => {
      this.drawCursor();
      canvas.emit("view", { zoom: this.view.viewport.zoom });
    };
    this.view.drawCursor(null);
  }

  /** Another photo was opened. */
  open() {
    this.isComparing = false;
    this.drawState();
  }

  zoom(/** @type {(viewport: import("./viewport.js").Viewport) => void} */ change) {
    if (!this.canvas.isOpen) return;
    this.view.move(change);
    this.canvas.say(this.canvas.words.zoom(this.view.viewport.zoom));
  }

  /** Show the photo before, without the mask, or the picture again. */
  compare(/** @type {boolean} */ comparing) {
    const { canvas } = this;
    if (!canvas.isOpen || comparing === this.isComparing) return;
    canvas.painter.end();
    this.isComparing = comparing;
    this.drawState();
    canvas.emit("compare", { comparing });
    canvas.say(comparing ? canvas.words.comparing : canvas.words.compared);
  }

  /** The mouse is at a place of the stage, or has left it. */
  hover(/** @type {{x: number, y: number} | null} */ place) {
    this.pointer = place;
    if (place && this.canvas.keyboard.cursor) this.canvas.keyboard.hideCursor();
    else this.drawCursor();
  }

  drawState() {
    const { isComparing, view } = this;
    const { editor, words } = this.canvas;
    const text = isComparing ? words.before : editor.isFilled ? words.after : "";
    const picture = isComparing ? editor.photo : editor.picture;
    // One that is still being decoded is shown when it is there.
    if (picture !== view.picture && picture.bitmapFor(view.viewport.zoom)) view.show(picture);
    view.setState({ text, bare: isComparing });
  }

  drawCursor() {
    const { viewport } = this.view;
    const { keyboard, painter, words, isOpen } = this.canvas;
    const place = keyboard?.cursor ? viewport.toScreen(keyboard.cursor) : this.pointer;
    if (!isOpen || !place) return this.view.drawCursor(null);
    const size = TOOLS[painter.tool].sized ? painter.brush * viewport.scale : 0;
    const text = size && !painter.stroke ? words.size(painter.brush) : "";
    return this.view.drawCursor({ ...place, size, text, keyboard: keyboard.cursor !== null });
  }
}
