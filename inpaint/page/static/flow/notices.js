/** What is said over the canvas: how far a fill is, what went wrong, and that a draft was restored. */

import { button, make } from "./elements.js";
import { WORDS } from "./words.js";

export class Notices {
  /** @param {HTMLElement} host @param {{stop: () => void, discard: () => void}} doing */
  constructor(host, { stop, discard }) {
    this.text = make("span", { class: "fl-work-text" });
    this.bar = make("progress", { max: 1, "aria-label": WORDS.fill });
    this.stop = button(WORDS.stop, stop, { title: `${WORDS.stop} (Escape)` });
    this.work = make("div", { class: "fl-work", hidden: true }, make("div", {}, this.text, this.bar), this.stop);
    this.alertText = make("span");
    const close = () => (this.alert.hidden = true);
    this.alert = make("div", { class: "fl-note fl-alert", hidden: true }, this.alertText, button(WORDS.close, close));
    this.live = make("div", { role: "alert", class: "fl-live" }, this.alert);
    const keep = () => (this.note.hidden = true);
    this.note = make(
      "div",
      { class: "fl-note", hidden: true },
      make("span", {}, WORDS.restored),
      button(WORDS.discard, discard),
      button(WORDS.close, keep),
    );
    this.polite = make("div", { role: "status", class: "fl-live" }, this.note);
    this.element = make("div", { class: "fl-notices" }, this.live, this.polite);
    host.append(this.element, this.work);
  }

  complain(/** @type {string} */ text) {
    this.alertText.textContent = text;
    this.alert.hidden = false;
  }

  quiet() {
    this.alert.hidden = true;
  }

  showRestored(/** @type {boolean} */ shown) {
    this.note.hidden = !shown;
  }

  /** Say how far a fill is; null where none is being made. */
  showWork(/** @type {{text: string, progress?: number, canStop?: boolean} | null} */ work) {
    this.work.hidden = work === null;
    if (work === null) return;
    this.text.textContent = work.text;
    if (work.progress === undefined) this.bar.removeAttribute("value");
    else this.bar.value = work.progress;
    this.stop.hidden = work.canStop === false;
  }
}
