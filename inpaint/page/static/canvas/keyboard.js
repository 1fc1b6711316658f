/**
 * Keys: the commands of commands.js, and a cursor that paints without a mouse.
 *
 * Arrow keys move it by about 10 pixels of the screen, with Shift by 50, with Control by one of the photo. While Space
 * is held the way is painted; Space alone sets a dot; P puts the brush down until it is pressed again. Space with a
 * drag of the mouse moves the photo. Keys work where the focus or the mouse is on the canvas or its toolbar.
 */

import { commandFor, keyOf } from "./commands.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 10;
const LARGE_STEP = 50;
/** How near to the stage's rim the cursor may come before the photo moves, in CSS pixels. */
const MARGIN = 40;

const isText = (target) => target instanceof Element && target.closest("input:not([type=range]), textarea, select, [contenteditable]");
const isPressed = (target) => target instanceof Element && target.closest("button, a, summary, [role=button]");

export class Keyboard {
  /** @param {import("./maskcanvas.js").MaskCanvas} canvas @param {import("./pointer.js").PointerInput} pointer */
  constructor(canvas, pointer) {
    this.canvas = canvas;
    this.pointer = pointer;
    this.view = canvas.view;
    /** Elements in which the keys work. */
    this.areas = [this.view.host];
    /** @type {{x: number, y: number} | null} The cursor, in photo pixels, while keys move it. */
    this.cursor = null;
    this.penDown = false;
    /** @type {Map<string, import("./commands.js").Command>} Held keys and what they began. */
    this.holding = new Map();
    this.stopping = new AbortController();
    const on = (target, name, handler) => target.addEventListener(name, handler, { signal: this.stopping.signal });
    on(document, "keydown", (event) => this.down(event));
    on(document, "keyup", (event) => this.up(event));
    on(window, "blur", () => this.letGo());
    on(this.view.stage, "blur", () => this.hideCursor());
    on(this.view.stage, "focus", () => !this.pointer.isFocusing && this.showCursor());
  }

  destroy() {
    this.stopping.abort();
  }

  isNear(event) {
    return this.areas.some((area) => area.contains(event.target) || area.matches(":hover"));
  }

  down(event) {
    if (event.defaultPrevented || event.isComposing || !this.canvas.isOpen || isText(event.target)) return;
    const near = this.isNear(event);
    // A button's own keys are its own.
    if (isPressed(event.target) && (event.key === " " || event.key === "Enter")) return;
    if (near && !isPressed(event.target) && event.key === " " && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      if (!event.repeat) this.pressSpace();
      return;
    }
    if (event.target === this.view.stage && this.moveCursor(event)) return;
    const key = keyOf(event);
    if (near && key === "p") {
      event.preventDefault();
      if (!event.repeat) this.togglePen();
      return;
    }
    const command = commandFor(key);
    if (!command || !(near || command.global)) return;
    if (key === "mod+c" && getSelection()?.toString()) return;
    if (key !== "escape") event.preventDefault();
    if (event.repeat && !command.repeat) return;
    command.run(this.canvas);
    if (command.hold) this.holding.set(event.code, command);
  }

  up(event) {
    this.holding.get(event.code)?.release(this.canvas);
    this.holding.delete(event.code);
    if (event.key === " ") this.releaseSpace();
  }

  /** End all that a key holds, as its end will not be seen. */
  letGo() {
    for (const command of this.holding.values()) command.release(this.canvas);
    this.holding.clear();
    this.pointer.setSpace(false);
    if (this.isPainting && !this.penDown) this.finish();
  }

  /** Whether a stroke is being painted by keys. */
  get isPainting() {
    return this.stroking === true && this.canvas.isStroking;
  }

  pressSpace() {
    this.pointer.space.used = false;
    this.pointer.setSpace(true);
  }

  releaseSpace() {
    const { held, used } = this.pointer.space;
    this.pointer.setSpace(false);
    if (!held || this.penDown) return;
    if (this.isPainting) this.finish({ lifted: true });
    else if (!used && !this.canvas.sight.pointer) {
      this.showCursor();
      this.begin();
      this.finish({ lifted: true });
    }
  }

  togglePen() {
    if (this.penDown) {
      this.penDown = false;
      if (this.isPainting) this.finish({ lifted: true });
      this.canvas.say(this.canvas.words.penUp);
      return;
    }
    this.showCursor();
    this.penDown = this.begin();
    if (this.penDown) this.canvas.say(this.canvas.words.penDown);
  }

  begin() {
    this.stroking = this.canvas.painter.begin(this.cursor, {});
    return this.stroking;
  }

  finish({ lifted = false } = {}) {
    this.stroking = false;
    this.canvas.painter.end({ lifted });
  }

  /** A stroke was cancelled: nothing is held any more. */
  drop() {
    this.stroking = this.penDown = false;
    this.pointer.space.used = true;
  }

  moveCursor(event) {
    const way = ARROWS[event.key];
    if (!way || event.altKey || event.metaKey) return false;
    event.preventDefault();
    this.showCursor();
    const { photo, view } = this.canvas;
    const large = event.shiftKey ? LARGE_STEP : STEP;
    const step = event.ctrlKey ? 1 : Math.max(1, Math.round(large / view.viewport.scale));
    const held = this.pointer.space.held;
    if (held && !this.pointer.space.used && !this.isPainting && !this.canvas.isStroking) this.begin();
    this.cursor = {
      x: Math.min(photo.width - 0.5, Math.max(0.5, this.cursor.x + step * way[0])),
      y: Math.min(photo.height - 0.5, Math.max(0.5, this.cursor.y + step * way[1])),
    };
    if (this.isPainting) this.canvas.painter.move([this.cursor]);
    view.move((viewport) => viewport.reveal(this.cursor, Math.min(MARGIN, viewport.width / 4, viewport.height / 4)));
    clearTimeout(this.saying);
    this.saying = setTimeout(() => this.sayPlace(), 500);
    return true;
  }

  sayPlace() {
    if (!this.cursor || !this.canvas.isOpen) return;
    const { mask, photo, words } = this.canvas;
    const { x, y } = this.cursor;
    this.canvas.say(words.cursor(x / photo.width, y / photo.height, mask.get(Math.floor(x), Math.floor(y))));
  }

  /** Show the cursor where the mouse was last, or in the middle of what is seen. */
  showCursor() {
    if (!this.canvas.isOpen || this.cursor) return;
    const { viewport } = this.view;
    const { x, y } = viewport.toPhoto(this.canvas.sight.pointer ?? viewport.middle);
    const whole = (at, size) => Math.min(size - 1, Math.max(0, Math.floor(at))) + 0.5;
    this.cursor = { x: whole(x, viewport.photoWidth), y: whole(y, viewport.photoHeight) };
    this.view.stage.classList.add("mc-keys");
    this.canvas.sight.drawCursor();
  }

  /** The mouse took over. */
  hideCursor() {
    if (this.isPainting) this.finish();
    this.penDown = false;
    this.cursor = null;
    this.view.stage.classList.remove("mc-keys");
    this.canvas.sight.drawCursor();
  }
}
