/** The Trace tab: press on the fill, and see which known pixels it was gathered from. */

import { fromBase64, ServerError, trace } from "./api.js";
import { button, make, setEnabled } from "./elements.js";
import { saveFile } from "./saving.js";
import { WORDS } from "./words.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Trace {
  /** @param {HTMLElement} element @param {() => Promise<object | undefined>} given the fill that the Fill tab shows */
  constructor(element, given) {
    this.given = given;
    this.isBusy = false;
    /** Where the cross is, in pixels of the photo. */
    this.at = { x: 0, y: 0 };
    this.image = make("img", { alt: "", load: () => this.drawCross() });
    this.cross = make("span", { class: "fl-cross", "aria-hidden": "true" });
    this.picture = make(
      "div",
      {
        class: "fl-traced",
        role: "application",
        tabindex: 0,
        hidden: true,
        "aria-label": WORDS.tracePicture,
        click: (event) => this.press(event),
        keydown: (event) => this.key(event),
      },
      this.image,
      this.cross,
    );
    this.again = button(WORDS.traceAgain, () => this.showFill());
    this.save = button(WORDS.traceSave, () => saveFile(this.result, `${this.fill.stem}-trace.png`));
    this.told = make("p", { role: "status" }, WORDS.traceFill);
    this.levels = make("ul");
    this.found = make("div", { hidden: true }, make("p", { class: "fl-strong" }, WORDS.traceLevels), this.levels);
    element.classList.add("fl-trace");
    element.replaceChildren(
      make("p", {}, WORDS.traceHint),
      this.told,
      make("div", { class: "fl-row" }, this.again, this.save),
      this.picture,
      this.found,
    );
    // The tab is built hidden; each time that it is shown, the Fill tab may show another fill.
    new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.arrive()).observe(element);
    this.draw();
  }

  draw() {
    setEnabled(this.again, Boolean(this.result) && !this.isBusy);
    setEnabled(this.save, Boolean(this.result) && !this.isBusy);
    this.picture.setAttribute("aria-busy", String(this.isBusy));
  }

  async arrive() {
    if (this.isBusy) return;
    const fill = await this.given();
    if (fill && fill.fill === this.fill?.fill) return;
    this.fill = fill;
    this.result = null;
    this.picture.hidden = !fill;
    this.found.hidden = true;
    this.told.textContent = fill ? "" : WORDS.traceFill;
    if (fill) {
      const { width, height } = await createImageBitmap(fill.fill);
      this.size = { width, height };
      this.at = { x: width >> 1, y: height >> 1 };
      this.showFill();
    }
    this.draw();
  }

  showFill() {
    this.result = null;
    this.show(this.fill.fill);
    this.draw();
  }

  show(/** @type {Blob} */ blob) {
    URL.revokeObjectURL(this.image.src);
    this.image.src = URL.createObjectURL(blob);
  }

  press(/** @type {MouseEvent} */ event) {
    const { left, top, width, height } = this.image.getBoundingClientRect();
    const within = (share, size) => Math.min(size - 1, Math.max(0, Math.floor(share * size)));
    this.at = {
      x: within((event.clientX - left) / width, this.size.width),
      y: within((event.clientY - top) / height, this.size.height),
    };
    this.follow();
  }

  key(/** @type {KeyboardEvent} */ event) {
    const step = STEPS[event.key];
    if (!step && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    if (!step) {
      this.follow();
      return;
    }
    const by = event.shiftKey ? 1 : Math.max(1, Math.round(Math.max(this.size.width, this.size.height) / 100));
    this.at.x = Math.min(this.size.width - 1, Math.max(0, this.at.x + by * step[0]));
    this.at.y = Math.min(this.size.height - 1, Math.max(0, this.at.y + by * step[1]));
    this.drawCross();
  }

  drawCross() {
    if (!this.size) return;
    this.cross.style.left = `${(100 * (this.at.x + 0.5)) / this.size.width}%`;
    this.cross.style.top = `${(100 * (this.at.y + 0.5)) / this.size.height}%`;
  }

  async follow() {
    if (this.isBusy) return;
    this.isBusy = true;
    this.told.textContent = WORDS.traceWait;
    this.drawCross();
    this.draw();
    try {
      const { levels, rest, patch, picture } = await trace(this.fill, this.at);
      this.result = await fromBase64(picture, "image/png");
      this.show(this.result);
      const lines = levels.filter(([, , share]) => share >= 0.0005).map((level) => WORDS.traceLevel(...level));
      if (rest >= 0.0005) lines.push(WORDS.traceRest(rest));
      this.levels.replaceChildren(...lines.map((line) => make("li", {}, line)));
      this.found.hidden = false;
      this.told.textContent = patch ? WORDS.tracePatch(patch) : WORDS.traceNoPatch;
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.told.textContent = error.message;
    } finally {
      this.isBusy = false;
      this.draw();
    }
  }
}
