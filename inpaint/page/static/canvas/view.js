/** What is seen: the stage with its two layers, the cursor and the line of a shape that is being drawn. */

import { unite } from "./box.js";
import { colourOf, drawMask, drawPicture } from "./layers.js";
import { Viewport } from "./viewport.js";

const SVG = "http://www.w3.org/2000/svg";
let views = 0;

export class View {
  /** @param {HTMLElement} host @param {typeof import("./words.js").WORDS} words */
  constructor(host, words) {
    this.host = host;
    this.words = words;
    this.viewport = new Viewport();
    /** @type {import("./picture.js").Picture | null} */
    this.picture = null;
    /** @type {import("./pyramid.js").Pyramid | null} */
    this.pyramid = null;
    this.build(++views);
    /** Told after every change of the zoom or the place. */
    this.onmove = () => {};
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.stage);
    this.darkness = matchMedia("(prefers-color-scheme: dark)");
    this.recolour = () => {
      this.colour = null;
      this.drawAll();
    };
    this.darkness.addEventListener("change", this.recolour);
    this.resize();
  }

  build(number) {
    const make = (tag, name, parent, attributes = {}) => {
      const element = document.createElement(tag);
      element.className = name;
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      parent.append(element);
      return element;
    };
    this.host.classList.add("mask-canvas");
    this.stage = make("div", "mc-stage", this.host, {
      tabindex: "0",
      role: "application",
      "aria-label": this.words.label,
      "aria-describedby": `mc-help-${number}`,
    });
    const hidden = { "aria-hidden": "true" };
    this.photoLayer = make("canvas", "mc-photo", this.stage, hidden);
    this.maskLayer = make("canvas", "mc-mask", this.stage, hidden);
    this.outline = document.createElementNS(SVG, "svg");
    this.outline.setAttribute("class", "mc-outline");
    this.outline.setAttribute("aria-hidden", "true");
    for (const name of ["mc-under", "mc-over"]) {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", name);
      this.outline.append(path);
    }
    this.stage.append(this.outline);
    this.cursor = make("div", "mc-cursor", this.stage, hidden);
    this.ring = make("div", "mc-ring", this.cursor);
    this.cursorText = make("span", "mc-size", this.cursor);
    this.state = make("div", "mc-state", this.stage, { "aria-hidden": "true", hidden: "" });
    this.empty = make("p", "mc-empty", this.stage);
    this.empty.textContent = this.words.empty;
    const help = make("p", "mc-hidden", this.host, { id: `mc-help-${number}` });
    help.textContent = this.words.help;
    this.live = make("p", "mc-hidden mc-status", this.host, { role: "status" });
  }

  destroy() {
    this.observer.disconnect();
    this.darkness.removeEventListener("change", this.recolour);
    cancelAnimationFrame(this.frame);
    this.host.classList.remove("mask-canvas");
    this.host.replaceChildren();
  }

  /** Show another photo's mask and place. */
  open(picture, pyramid) {
    this.pyramid = pyramid;
    this.empty.hidden = true;
    this.viewport.setPhoto(picture.width, picture.height);
    this.show(picture);
    this.move(() => {});
  }

  /** Show another picture of the same photo. */
  show(picture) {
    this.picture = picture;
    picture.onload = () => this.drawAll();
    this.drawAll();
  }

  /** Show the photo without the mask, or all as it is. */
  setState(/** @type {{text: string, bare: boolean}} */ { text, bare }) {
    this.state.textContent = text;
    this.state.hidden = !text;
    this.maskLayer.hidden = bare;
  }

  resize() {
    const { clientWidth, clientHeight } = this.stage;
    this.move(() => this.viewport.resize(clientWidth, clientHeight, devicePixelRatio || 1));
  }

  /** Change the place or the zoom. */
  move(/** @type {(viewport: Viewport) => void} */ change) {
    change(this.viewport);
    this.drawAll();
    this.onmove();
  }

  /** Draw everything at the next frame. */
  drawAll() {
    this.everything = true;
    this.schedule();
  }

  /** Draw a box of the mask at the next frame. */
  drawMask(/** @type {import("./box.js").Box} */ box) {
    this.changed = unite(this.changed ?? null, box);
    this.schedule();
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    this.colour ??= colourOf(getComputedStyle(this.stage).getPropertyValue("--mc-mask").trim() || "#ff2d55a6");
    if (this.everything) drawPicture(this.photoLayer, this.viewport, this.picture);
    const changed = this.everything ? null : this.changed;
    drawMask(this.maskLayer, this.viewport, this.pyramid, this.colour, changed);
    this.everything = false;
    this.changed = null;
  }

  /** The place of an event on the stage, in CSS pixels. */
  place(/** @type {{clientX: number, clientY: number}} */ { clientX, clientY }) {
    const { left, top } = this.stage.getBoundingClientRect();
    return { x: clientX - left - this.stage.clientLeft, y: clientY - top - this.stage.clientTop };
  }

  /**
   * Draw the cursor, or none.
   *
   * @param {{x: number, y: number, size: number, text: string, keyboard: boolean} | null} cursor on the screen; size 0
   *     for a cross
   */
  drawCursor(cursor) {
    this.cursor.hidden = !cursor;
    if (!cursor) return;
    const { x, y, size, text, keyboard } = cursor;
    this.cursor.style.transform = `translate(${x}px, ${y}px)`;
    this.cursor.classList.toggle("mc-cross", keyboard);
    this.ring.hidden = size === 0;
    this.ring.style.width = this.ring.style.height = `${Math.max(size, 2)}px`;
    this.cursorText.textContent = text;
    this.cursorText.hidden = !text;
    // Beside the ring, or below its rim where it is large.
    const away = Math.min(size / 2, 90) * 0.72 + 8;
    const turnX = x + away + 64 > this.viewport.width ? -1 : 1;
    const turnY = y + away + 32 > this.viewport.height ? -1 : 1;
    this.cursorText.style.transform =
      `translate(${away * turnX}px, ${away * turnY}px) ` +
      `translate(${turnX < 0 ? -100 : 0}%, ${turnY < 0 ? -100 : 0}%)`;
  }

  /** Draw a line through points of the photo, closed; null takes it away. */
  drawOutline(/** @type {{x: number, y: number}[] | null} */ points) {
    const place = (point) => {
      const { x, y } = this.viewport.toScreen(point);
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    };
    const line = points?.length ? `M${points.map(place).join("L")}Z` : "";
    for (const path of this.outline.children) path.setAttribute("d", line);
  }

  /** Say something to those who do not see. */
  say(text) {
    this.live.textContent = text;
  }
}
