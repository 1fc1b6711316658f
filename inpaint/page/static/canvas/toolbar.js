/**
 * The toolbar of a canvas: buttons for the commands, the brush's size and a menu for the mask. Arrow keys move between
 * the buttons, as in any toolbar; Tab goes on to the next part.
 */

import { COMMANDS, writeKey } from "./commands.js";
import { icon } from "./icons.js";
import { MAX_BRUSH, MIN_BRUSH } from "./painter.js";
import { TOOLS } from "./tools/index.js";

const MAX_BY = 100;

/** An element with attributes and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export class Toolbar {
  /** @param {HTMLElement} element @param {import("./maskcanvas.js").MaskCanvas} canvas */
  constructor(element, canvas) {
    this.canvas = canvas;
    this.element = element;
    /** @type {Map<string, HTMLButtonElement>} Buttons by their command. */
    this.buttons = new Map();
    this.stopping = new AbortController();
    element.classList.add("mc-toolbar");
    element.setAttribute("role", "toolbar");
    element.setAttribute("aria-label", "Mask tools");
    element.append(
      this.group("Tool", ...Object.keys(TOOLS).map((name) => this.button(name))),
      this.makeSize(),
      this.group("History", this.button("undo"), this.button("redo")),
      this.group("Mask", this.makeMenu()),
      this.group("Compare", this.button("compare")),
      this.group("Zoom", this.button("zoomOut"), this.makeZoom(), this.button("zoomIn")),
    );
    canvas.addKeyArea(element);
    const { signal } = this.stopping;
    for (const name of ["change", "open", "tool", "brush", "compare", "view"]) {
      canvas.addEventListener(name, () => this.refresh(), { signal });
    }
    element.addEventListener("keydown", (event) => this.walk(event), { signal });
    this.holdToCompare();
    this.refresh();
    this.rove(this.buttons.get("brush"));
  }

  destroy() {
    this.stopping.abort();
    this.element.replaceChildren();
    this.element.classList.remove("mc-toolbar");
  }

  group(label, ...children) {
    return make("div", { class: `mc-group mc-group-${label.toLowerCase().split(" ")[0]}`, role: "group", "aria-label": label }, ...children);
  }

  /** A button for a command: an icon alone, or with its name in the menu. */
  button(name, { written = false, run = COMMANDS[name].run } = {}) {
    const { title, keys, hold } = COMMANDS[name];
    const key = writeKey(keys[0]);
    const button = make("button", {
      type: "button",
      class: "mc-button",
      "aria-label": written ? null : title,
      "aria-keyshortcuts": keys.map((one) => writeKey(one).replace("Ctrl", "Control").replace("⌘", "Meta")).join(" "),
      title: `${title} (${hold ? "hold " : ""}${key})`,
    });
    button.append(icon(name));
    if (written) button.append(make("span", {}, title), make("kbd", { "aria-hidden": "true" }, key));
    if (!hold) button.addEventListener("click", () => run(this.canvas));
    this.buttons.set(name, button);
    return button;
  }

  makeSize() {
    const shown = make("span", { class: "mc-brush-size", "aria-hidden": "true" });
    const range = make("input", {
      type: "range",
      min: 0,
      max: 100,
      step: 1,
      "aria-label": "Brush size",
      title: "Brush size ([ and ])",
    });
    // The slider's steps are even to the eye: as many from 1 to 14 px as from 14 to 200.
    const ratio = MAX_BRUSH / MIN_BRUSH;
    range.addEventListener("input", () => {
      const wanted = Math.round(MIN_BRUSH * ratio ** (range.value / 100));
      // Small brushes differ by less than a step of the slider.
      const stuck = wanted === this.canvas.brush && Number(range.value) !== this.place;
      this.canvas.setBrush(stuck ? wanted + Math.sign(range.value - this.place) : wanted);
    });
    this.drawSize = () => {
      const { brush, words } = this.canvas;
      this.place = Math.round((100 * Math.log(brush / MIN_BRUSH)) / Math.log(ratio));
      range.value = String(this.place);
      range.setAttribute("aria-valuetext", words.size(brush));
      shown.textContent = words.size(brush);
    };
    return make("div", { class: "mc-group mc-sizes" }, range, shown);
  }

  makeZoom() {
    // Fits the photo, and where it is fitted shows it pixel by pixel.
    const next = () => (this.canvas.view.viewport.fitted ? COMMANDS.actualSize : COMMANDS.fit);
    const button = make("button", { type: "button", class: "mc-button mc-zoom" });
    button.addEventListener("click", () => next().run(this.canvas));
    this.buttons.set("fit", button);
    this.drawZoom = () => {
      const { isOpen, view } = this.canvas;
      const text = isOpen ? `${Math.round(view.viewport.zoom * 100)} %` : "–";
      button.textContent = text;
      button.setAttribute("aria-label", `Zoom ${text}: ${next().title}`);
      button.title = `${next().title} (${writeKey(next().keys[0])})`;
    };
    return button;
  }

  makeMenu() {
    const by = make("input", { type: "number", min: 1, max: MAX_BY, value: 4, "aria-label": "Grow or shrink by, in pixels" });
    const load = this.written("load", "Load mask…", () => input.click());
    const save = this.written("save", "Save mask", () => this.saveMask());
    const input = make("input", { type: "file", accept: "image/*", hidden: "", "aria-label": "Mask file" });
    input.addEventListener("change", async () => {
      const [file] = input.files;
      input.value = ""; // the same file may be chosen again
      if (file) await this.canvas.addMask(file).catch(() => {}); // the canvas has told the user
    });
    const amountOf = () => Math.min(MAX_BY, Math.max(1, Math.round(by.valueAsNumber) || 1));
    const sized = ["grow", "shrink"].map((name) =>
      this.button(name, { written: true, run: (canvas) => canvas[name](amountOf()) }),
    );
    const amount = make("label", { class: "mc-amount" }, make("span", {}, "by"), by, make("span", {}, "px"));
    const panel = this.group(
      "Change the mask",
      this.button("invert", { written: true }),
      ...sized,
      amount,
      this.button("clear", { written: true }),
      make("hr"),
      load,
      save,
      input,
    );
    panel.classList.add("mc-panel");
    const summary = make("summary", { class: "mc-button mc-menu", "aria-label": "Mask", title: "Change, load or save the mask" });
    summary.append(icon("mask"), make("span", {}, "Mask"));
    const menu = make("details", {}, summary, panel);
    const close = () => (menu.open = false);
    const outside = (event) => !menu.contains(event.target) && close();
    document.addEventListener("pointerdown", outside, { signal: this.stopping.signal });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      event.stopPropagation();
      close();
      summary.focus();
    });
    for (const button of [load, save]) button.addEventListener("click", close);
    return menu;
  }

  /** A button of the menu that no command stands for. */
  written(name, text, run) {
    const button = make("button", { type: "button", class: "mc-button" }, icon(name), make("span", {}, text));
    button.addEventListener("click", run);
    this.buttons.set(name, button);
    return button;
  }

  async saveMask() {
    const address = URL.createObjectURL(await this.canvas.mask.toPNG());
    const stem = this.canvas.name.replace(/\.[^.]*$/, "") || "photo";
    make("a", { href: address, download: `${stem}-mask.png` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  /** The photo before is seen as long as the button is held, by mouse, finger or key. */
  holdToCompare() {
    const button = this.buttons.get("compare");
    const set = (comparing) => this.canvas.setComparing(comparing);
    button.addEventListener("pointerdown", (event) => {
      button.setPointerCapture(event.pointerId);
      set(true);
    });
    for (const name of ["pointerup", "pointercancel", "blur"]) button.addEventListener(name, () => set(false));
    const isKey = (event) => event.key === " " || event.key === "Enter";
    button.addEventListener("keydown", (event) => isKey(event) && set(true));
    button.addEventListener("keyup", (event) => isKey(event) && set(false));
    button.addEventListener("contextmenu", (event) => event.preventDefault()); // a finger held long
  }

  /** Bring all buttons up to date with the canvas. */
  refresh() {
    const { canvas, buttons } = this;
    const set = (name, usable) => (buttons.get(name).disabled = !usable);
    const editable = canvas.isOpen && !canvas.isLocked;
    for (const name of Object.keys(TOOLS)) buttons.get(name).setAttribute("aria-pressed", String(canvas.tool === name));
    buttons.get("compare").setAttribute("aria-pressed", String(canvas.isComparing));
    set("undo", canvas.canUndo);
    set("redo", canvas.canRedo);
    for (const name of ["invert", "load"]) set(name, editable);
    for (const name of ["grow", "shrink", "clear"]) set(name, editable && !canvas.mask.isEmpty());
    for (const name of ["save", "compare", "zoomIn", "zoomOut", "fit"]) set(name, canvas.isOpen);
    this.drawSize();
    this.drawZoom();
    // A button that was just disabled cannot hold the toolbar's place for the Tab key.
    if (this.current?.disabled) this.rove(this.buttons.get(canvas.tool));
  }

  // One button of the row is reached by Tab; arrow keys go to the others.

  get row() {
    return [...this.element.querySelectorAll(".mc-group > .mc-button, summary")].filter((one) => !one.closest(".mc-panel"));
  }

  rove(button) {
    this.current = button;
    for (const one of this.row) one.tabIndex = one === button ? 0 : -1;
  }

  walk(event) {
    const row = this.row.filter((one) => !one.disabled);
    const at = row.indexOf(event.target);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: row.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.rove(row[(to + row.length) % row.length]);
    this.current.focus();
  }
}
