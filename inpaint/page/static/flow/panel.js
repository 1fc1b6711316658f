/** The panel beside the canvas: fill, the fills so far, files to save, and how to fill. */

import { boxOf } from "./fills.js";
import { button, fileButton, make, setEnabled } from "./elements.js";
import { remember, remembered } from "./remembered.js";
import { WORDS } from "./words.js";

export const LARGEST_GROWTH = 50;
const THUMBNAIL = 64;
/** The name that the switch is remembered by. */
const AT_ONCE = "fill-at-once";

/** By how many pixels to grow a mask as long as nobody says: 0.4 % of the shorter side, 2 to 16. */
export const suggestedGrowth = (/** @type {number} */ width, /** @type {number} */ height) =>
  Math.min(16, Math.max(2, Math.round(0.004 * Math.min(width, height))));

let panels = 0;

export class Panel {
  /**
   * @param {HTMLElement} element
   * @param {Record<"fill" | "another" | "fitMask" | "open" | "save" | "savePNG" | "saveMask" | "choose", Function>} doing
   */
  constructor(element, doing) {
    this.doing = doing;
    this.id = `fl-${++panels}`;
    this.fill = button(WORDS.fill, doing.fill, { class: "fl-button fl-primary", title: `${WORDS.fill} (Enter)` });
    this.another = button(WORDS.another, doing.another);
    this.fitMask = button(WORDS.fitMask, doing.fitMask, { "aria-describedby": `${this.id}-fit-hint` });
    this.save = button(WORDS.download("photo"), doing.save);
    this.savePNG = button(WORDS.png, doing.savePNG);
    this.saveMask = button(WORDS.mask, doing.saveMask, { title: "Download the mask as a PNG file" });
    this.strip = make("div", { class: "fl-strip", role: "group", "aria-label": WORDS.fills });
    this.facts = make("p", { class: "fl-facts" });
    this.fillFacts = make("p", { class: "fl-facts fl-fill-facts" });
    element.append(
      make("div", { class: "fl-row fl-main" }, this.fill, this.another),
      make("div", { class: "fl-row" }, this.fitMask),
      make("p", { class: "fl-hint", id: `${this.id}-fit-hint` }, WORDS.fitMaskHint),
      this.strip,
      this.fillFacts,
      make("div", { class: "fl-row fl-saves" }, this.save, this.savePNG, this.saveMask),
      this.makeSettings(),
      make("div", { class: "fl-row fl-photo" }, fileButton(WORDS.open, doing.open), this.facts),
    );
  }

  makeSettings() {
    this.model = make("select", { id: `${this.id}-model`, change: () => this.drawModel() });
    this.modelHint = make("p", { class: "fl-hint" });
    this.grow = make("input", {
      id: `${this.id}-grow`,
      type: "range",
      min: 0,
      max: LARGEST_GROWTH,
      step: 1,
      value: 4,
      "aria-describedby": `${this.id}-grow-hint`,
      input: () => this.drawGrow(),
    });
    this.grown = make("output", { for: `${this.id}-grow` });
    this.texture = make("input", { type: "checkbox", role: "switch", checked: true, "aria-describedby": `${this.id}-texture-hint` });
    this.atOnce = make("input", {
      type: "checkbox",
      role: "switch",
      "aria-describedby": `${this.id}-at-once-hint`,
      change: () => remember(AT_ONCE, this.atOnce.checked),
    });
    this.atOnce.checked = remembered(AT_ONCE);
    this.drawGrow();
    return make(
      "fieldset",
      { class: "fl-settings" },
      make("legend", {}, WORDS.settings),
      make("label", { for: `${this.id}-model` }, WORDS.model),
      this.model,
      this.modelHint,
      make("label", { for: `${this.id}-grow`, class: "fl-between" }, WORDS.grow, this.grown),
      this.grow,
      make("p", { class: "fl-hint", id: `${this.id}-grow-hint` }, WORDS.growHint),
      make("label", { class: "fl-switch" }, this.texture, WORDS.texture),
      make("p", { class: "fl-hint", id: `${this.id}-texture-hint` }, WORDS.textureHint),
      make("label", { class: "fl-switch" }, this.atOnce, WORDS.fillAtOnce),
      make("p", { class: "fl-hint", id: `${this.id}-at-once-hint` }, WORDS.fillAtOnceHint),
    );
  }

  setModels(/** @type {{name: string, title: string, description: string, default: boolean}[]} */ models) {
    this.models = models;
    const options = models.map(({ name, title, default: first }) =>
      make("option", { value: name, selected: first }, title),
    );
    this.model.replaceChildren(...options);
    this.chooseModel(this.wanted);
  }

  /** Choose a model, where the server has it (still). */
  chooseModel(/** @type {string | undefined} */ name) {
    this.wanted = name; // they may not be known yet
    if (this.models?.some((model) => model.name === name)) this.model.value = name;
    this.drawModel();
  }

  drawModel() {
    const { value } = this.model;
    const model = this.models?.find(({ name }) => name === value);
    this.modelHint.textContent = WORDS.models[value] ?? model?.description ?? "";
  }

  setGrowth(/** @type {number} */ pixels) {
    this.grow.value = String(pixels);
    this.drawGrow();
  }

  drawGrow() {
    this.grown.textContent = WORDS.growBy(this.grow.value);
    this.grow.setAttribute("aria-valuetext", WORDS.growBy(this.grow.value));
  }

  /** How to fill. */
  get settings() {
    return {
      model: this.model.value,
      title: this.models?.find(({ name }) => name === this.model.value)?.title ?? "",
      detail: this.texture.checked ? "photo" : "none",
      grow: Number(this.grow.value),
    };
  }

  /** Choose again what was chosen before. */
  restoreSettings(/** @type {{model: string, detail: string, grow: number}} */ { model, detail, grow }) {
    this.chooseModel(model);
    this.texture.checked = detail === "photo";
    this.setGrowth(grow);
  }

  /** Whether a stroke starts a fill by itself. */
  get fillsAtOnce() {
    return this.atOnce.checked;
  }

  /** Show what can be done now. */
  draw({ isOpen, isBusy, isPainted, current, fills, format, facts }) {
    setEnabled(this.fill, isOpen && !isBusy);
    setEnabled(this.another, Boolean(current || isPainted) && !isBusy && fills.length > 0);
    setEnabled(this.fitMask, isPainted && !isBusy);
    setEnabled(this.save, Boolean(current) && !isBusy);
    setEnabled(this.savePNG, Boolean(current));
    setEnabled(this.saveMask, isPainted || Boolean(current));
    this.save.textContent = WORDS.download(format || "photo");
    this.savePNG.hidden = format === "PNG";
    this.facts.textContent = facts;
    const { settings } = current ?? {};
    this.fillFacts.textContent = current ? (settings ? WORDS.fillFacts(settings) : WORDS.restoredFill) : "";
    this.drawStrip(fills, current, isBusy);
  }

  drawStrip(/** @type {import("./fills.js").Fill[]} */ fills, current, isBusy) {
    const known = new Map([...this.strip.children].map((tile) => [tile.dataset.number, tile]));
    const tiles = fills.map((fill) => known.get(String(fill.number)) ?? this.makeTile(fill));
    if (tiles.length !== this.strip.children.length || tiles.some((tile, at) => tile !== this.strip.children[at])) {
      this.strip.replaceChildren(...tiles);
    }
    fills.forEach((fill, at) => {
      tiles[at].setAttribute("aria-pressed", String(fill === current));
      setEnabled(tiles[at], !isBusy);
    });
  }

  makeTile(/** @type {import("./fills.js").Fill} */ fill) {
    const tile = button("", () => this.doing.choose(fill), {
      class: "fl-tile",
      "aria-label": WORDS.fillNumber(fill.number),
      title: fill.settings ? WORDS.fillFacts(fill.settings) : WORDS.restoredFill,
      "data-number": fill.number,
    });
    const picture = make("canvas", { width: 2 * THUMBNAIL, height: 2 * THUMBNAIL, "aria-hidden": "true" });
    tile.append(picture);
    drawThumbnail(picture, fill).catch(() => {}); // it has a number all the same
    return tile;
  }
}

/** Draw a square around a fill's hole. */
async function drawThumbnail(/** @type {HTMLCanvasElement} */ element, { blob, runs }) {
  const { left, top, right, bottom } = boxOf(runs);
  const side = Math.min(32 + 1.5 * Math.max(right - left, bottom - top), runs.width, runs.height);
  const within = (middle, size) => Math.min(size - side, Math.max(0, middle - side / 2));
  const x = within((left + right) / 2, runs.width);
  const y = within((top + bottom) / 2, runs.height);
  const bitmap = await createImageBitmap(blob, Math.round(x), Math.round(y), Math.ceil(side), Math.ceil(side), {
    resizeWidth: element.width,
    resizeHeight: element.height,
    resizeQuality: "medium",
  });
  element.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}
