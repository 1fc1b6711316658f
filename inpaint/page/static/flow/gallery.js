/** Pictures of one place beside each other, and one of them large; pressing one after the other shows what differs. */

import { button, make } from "./elements.js";
import { saveFile } from "./saving.js";
import { WORDS } from "./words.js";

export class Gallery {
  /** @param {(name: string) => string} fileName of a picture that is saved */
  constructor(fileName) {
    this.large = make("div", { class: "fl-view" });
    this.caption = make("figcaption", {});
    this.save = button(WORDS.evaluatePicture, () => saveFile(this.shown.blob, fileName(this.shown.name)));
    this.closer = make("input", { type: "checkbox", change: () => this.frame() });
    this.closer.checked = true;
    this.tiles = make("div", { class: "fl-compared", role: "group", "aria-label": WORDS.evaluatePictures, keydown: (event) => this.step(event) });
    this.element = make(
      "div",
      { class: "fl-gallery", hidden: true },
      make("label", { class: "fl-closer" }, this.closer, WORDS.evaluateCloser),
      make("figure", {}, this.large, make("div", { class: "fl-row" }, this.caption, this.save)),
      this.tiles,
    );
    /** @type {{name: string, title: string, blob: Blob, url: string, tile: HTMLElement}[]} */
    this.pictures = [];
  }

  clear() {
    for (const { url } of this.pictures) URL.revokeObjectURL(url);
    this.pictures = [];
    this.tiles.replaceChildren();
    this.element.hidden = true;
  }

  /**
   * Begin with the truth and the hole.
   * @param {{truth: Blob, hole: Blob}} pictures
   * @param {{width: number, height: number, box: number[]}} size and the box around the hole: left, top, right, bottom
   */
  begin({ truth, hole }, { width, height, box }) {
    this.clear();
    this.size = { width, height, box };
    this.element.hidden = false;
    this.add("hole", WORDS.evaluateHole, hole);
    this.add("truth", WORDS.evaluateTruth, truth);
    this.show(this.pictures[1]);
  }

  add(/** @type {string} */ name, /** @type {string} */ title, /** @type {Blob} */ blob) {
    const picture = { name, title, blob, url: URL.createObjectURL(blob) };
    const view = make("span", { class: "fl-view" }, make("img", { src: picture.url, alt: "" }));
    picture.tile = button("", () => this.show(picture), { class: "fl-example", "aria-pressed": "false" });
    picture.tile.append(view, make("span", {}, title));
    this.pictures.push(picture);
    this.tiles.append(picture.tile);
    this.frame();
  }

  show(picture) {
    this.shown = picture;
    for (const { tile } of this.pictures) tile.setAttribute("aria-pressed", String(tile === picture.tile));
    this.large.replaceChildren(make("img", { src: picture.url, alt: picture.title }));
    this.caption.textContent = picture.title;
    this.frame();
  }

  /** Show the neighbour by the arrow keys, at the same place. */
  step(/** @type {KeyboardEvent} */ event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const count = this.pictures.length;
    const next = this.pictures[(this.pictures.indexOf(this.shown) + by + count) % count];
    this.show(next);
    next.tile.focus();
  }

  /** Show the whole pictures, or only what lies around the hole. */
  frame() {
    const { width, height, box } = this.size;
    const [left, top, right, bottom] = this.closer.checked ? box : [0, 0, width, height];
    const share = (part, whole) => `${(100 * part) / whole}%`;
    for (const view of this.element.querySelectorAll(".fl-view")) {
      view.style.aspectRatio = `${right - left} / ${bottom - top}`;
      view.style.setProperty("--ratio", String((right - left) / (bottom - top)));
      const { style } = view.firstElementChild ?? make("img");
      style.width = share(width, right - left);
      style.height = share(height, bottom - top);
      style.left = share(-left, right - left);
      style.top = share(-top, bottom - top);
    }
  }
}
