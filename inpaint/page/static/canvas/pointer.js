/**
 * Mouse, pen and fingers on the stage.
 *
 * The left button and the pen paint, the right button erases, the middle button and Space with the left one move the
 * photo, the wheel zooms. One finger paints, two move and zoom. A finger's first touch waits for a moment, so that the
 * start of a pinch leaves no dot.
 */

/** How long a finger's touch waits for a second one, in milliseconds, and how far it may go meanwhile, in pixels. */
const WAIT = 120;
const SLACK = 5;
/** A stroke that is longer than this (milliseconds, pixels) when a second finger comes is kept. */
const KEEP_AFTER = 350;
const KEEP_LENGTH = 24;

const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });

export class PointerInput {
  /** @param {import("./maskcanvas.js").MaskCanvas} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.view = canvas.view;
    /** @type {"idle" | "wait" | "paint" | "pan" | "pinch" | "done"} */
    this.mode = "idle";
    /** @type {Map<number, {x: number, y: number}>} */
    this.fingers = new Map();
    this.pending = [];
    /** Whether the stage is getting the focus by other means than a key. */
    this.isFocusing = false;
    /** @type {{place: {x: number, y: number}, point: {x: number, y: number}, scale: number} | null} What the wheel or
     * two fingers hold: a point of the photo, the place where they took it and the scale then. */
    this.grip = null;
    /** Whether Space is held, and whether it was used to move the photo. */
    this.space = { held: false, used: false };
    const { stage } = this.view;
    const on = (name, handler, options) => stage.addEventListener(name, handler, options);
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", (event) => this.up(event));
    on("pointerleave", (event) => event.pointerType !== "touch" && this.mode === "idle" && canvas.sight.hover(null));
    on("pointerenter", (event) => event.pointerType !== "touch" && this.hover(event));
    on("contextmenu", (event) => event.preventDefault());
    on("wheel", (event) => this.wheel(event), { passive: false });
  }

  focus() {
    this.isFocusing = true;
    this.view.stage.focus({ preventScroll: true });
    this.isFocusing = false;
  }

  down(event) {
    if (!this.canvas.isOpen) return;
    event.preventDefault(); // no selection, no scrolling by the middle button
    this.focus();
    if (!this.canvas.keyboard.isPainting) this.canvas.keyboard.hideCursor();
    try {
      this.view.stage.setPointerCapture(event.pointerId);
    } catch {
      // The pointer has already gone.
    }
    const place = this.view.place(event);
    if (event.pointerType === "pen") this.dropFingers();
    if (event.pointerType === "touch") this.touch(event.pointerId, place);
    else if (this.mode !== "idle") return;
    else if (event.button === 1 || (event.button === 0 && this.space.held)) this.startPan(event, place);
    else if (event.button === 0 || event.button === 2) {
      this.start([place], { erase: event.button === 2 || event.altKey, pointer: event.pointerId });
    }
  }

  move(event) {
    const place = this.view.place(event);
    if (this.fingers.has(event.pointerId)) return this.moveFinger(event, place);
    if (this.mode === "pan" && event.pointerId === this.pointer) {
      this.view.move((viewport) => viewport.panBy(place.x - this.last.x, place.y - this.last.y));
      this.last = place;
    } else if (this.mode === "paint" && event.pointerId === this.pointer) this.paint(event);
    if (event.pointerType !== "touch") this.hover(event);
    return undefined;
  }

  up(event) {
    const cancelled = event.type === "pointercancel";
    if (this.fingers.delete(event.pointerId)) {
      this.liftFinger(cancelled);
      return;
    }
    if (event.pointerId !== this.pointer) return;
    if (this.mode === "paint") cancelled ? this.canvas.painter.cancel() : this.canvas.painter.end({ lifted: true });
    this.mode = "idle";
    this.pointer = null;
    this.showHand();
  }

  /** The stroke was cancelled by other means: the pointer that drew it paints no more until it is lifted. */
  drop() {
    if (this.mode === "paint") this.mode = "done";
  }

  start(places, { erase = false, pointer = null } = {}) {
    this.pointer = pointer;
    const points = places.map((place) => this.view.viewport.toPhoto(place));
    this.mode = this.canvas.painter.begin(points[0], { erase }) ? "paint" : "done";
    if (this.mode === "paint") this.canvas.painter.move(points.slice(1));
    this.started = { at: performance.now(), place: places[0] };
  }

  paint(event) {
    // All places since the last frame: a fast stroke stays round.
    const events = event.getCoalescedEvents?.() ?? [];
    const places = (events.length ? events : [event]).map((one) => this.view.place(one));
    this.canvas.painter.move(places.map((place) => this.view.viewport.toPhoto(place)));
  }

  startPan(event, place) {
    this.mode = "pan";
    this.pointer = event.pointerId;
    this.last = place;
    this.space.used = true;
    this.showHand();
  }

  setSpace(held) {
    this.space.held = held;
    this.showHand();
  }

  showHand() {
    this.view.stage.classList.toggle("mc-hand", this.space.held && this.mode !== "paint");
    this.view.stage.classList.toggle("mc-grabbing", this.mode === "pan");
  }

  hover(event) {
    // A mouse that is pushed a little does not take over from the keys that paint.
    if (this.canvas.isOpen && !this.canvas.keyboard.isPainting) this.canvas.sight.hover(this.view.place(event));
  }

  wheel(event) {
    if (!this.canvas.isOpen) return;
    event.preventDefault();
    // Lines and pages to pixels; a trackpad's pinch comes as small steps with Control.
    const step = event.deltaY * [1, 16, 240][event.deltaMode];
    const factor = Math.exp(-Math.max(-200, Math.min(200, step)) * (event.ctrlKey ? 0.01 : 0.0018));
    const place = this.view.place(event);
    // As long as the mouse stays, it holds one point, also where a rim of the photo kept it away for a while.
    if (!this.grip || distance(this.grip.place, place) > 2) this.grip = this.take(place);
    this.view.move((viewport) => viewport.hold(this.grip.point, place, viewport.scale * factor));
    this.hover(event);
  }

  take(place) {
    const { viewport } = this.view;
    return { place, point: viewport.toPhoto(place), scale: viewport.scale };
  }

  // Fingers

  touch(id, place) {
    if (this.fingers.size === 0 && this.mode !== "idle") return; // a hand that rests beside the pen
    this.fingers.set(id, place);
    if (this.fingers.size === 1 && this.mode === "idle") {
      this.mode = "wait";
      this.pending = [place];
      this.timer = setTimeout(() => this.mode === "wait" && this.start(this.pending), WAIT);
    } else if (this.fingers.size === 2) {
      this.settleStroke();
      this.mode = "pinch";
      const [one, other] = this.fingers.values();
      this.grip = { ...this.take(middle(one, other)), apart: Math.max(1, distance(one, other)) };
      this.canvas.sight.hover(null);
    }
  }

  /** A pen came: what the hand touched before was not meant. */
  dropFingers() {
    if (this.fingers.size === 0) return;
    clearTimeout(this.timer);
    this.canvas.painter.cancel({ quiet: true });
    this.fingers.clear();
    this.mode = "idle";
  }

  /** A second finger came: what the first one drew was the start of a pinch, or a stroke if it was long. */
  settleStroke() {
    clearTimeout(this.timer);
    if (this.mode !== "paint") return;
    const [first] = this.fingers.values();
    const long = performance.now() - this.started.at > KEEP_AFTER;
    if (long && distance(first, this.started.place) > KEEP_LENGTH) this.canvas.painter.end();
    else this.canvas.painter.cancel({ quiet: true });
  }

  moveFinger(event, place) {
    this.fingers.set(event.pointerId, place);
    const [one, other] = this.fingers.values();
    if (this.mode === "wait") {
      this.pending.push(place);
      if (distance(this.pending[0], place) > SLACK) this.start(this.pending);
    } else if (this.mode === "paint") {
      this.paint(event);
      this.canvas.sight.hover(place);
    } else if (this.mode === "pinch" && other) {
      const { point, scale, apart } = this.grip;
      const wanted = (scale * distance(one, other)) / apart;
      this.view.move((viewport) => viewport.hold(point, middle(one, other), wanted));
    }
  }

  liftFinger(cancelled) {
    clearTimeout(this.timer);
    if (this.mode === "wait" && !cancelled) this.start(this.pending); // a tap is a dot
    const { painter } = this.canvas;
    if (this.mode === "paint") cancelled ? painter.cancel({ quiet: true }) : painter.end({ lifted: true });
    this.canvas.sight.hover(null);
    this.grip = null;
    // What is left of a pinch paints nothing.
    this.mode = this.fingers.size ? "done" : "idle";
  }
}
