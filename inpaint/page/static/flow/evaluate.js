/** The Evaluate tab: methods beside each other on a hole whose truth is known. */

import { compare, fromBase64, ServerError } from "./api.js";
import { button, make, setEnabled } from "./elements.js";
import { Gallery } from "./gallery.js";
import { saveFile } from "./saving.js";
import { ScoreTable } from "./scores.js";
import { WORDS } from "./words.js";

/** @typedef {{name: string, title: string, description: string}} Method */

export class Evaluate {
  /**
   * @param {HTMLElement} element
   * @param {() => Promise<{photo: Blob, mask: Blob, stem: string} | undefined>} given the photo and hole of the Fill tab
   * @param {Method[]} methods
   */
  constructor(element, given, methods) {
    this.given = given;
    this.methods = methods;
    /** @type {AbortController | null} */
    this.running = null;
    /** @type {{table?: Blob, sheet?: Blob}} */
    this.files = {};
    this.stem = "photo";
    this.boxes = methods.map(({ name, title, description }) => {
      const input = make("input", { type: "checkbox", value: name, change: () => this.draw() });
      input.checked = true;
      return { input, shown: make("label", { title: description }, input, title) };
    });
    this.start = button(WORDS.evaluateStart, () => this.run(), { class: "fl-button fl-primary" });
    this.stop = button(WORDS.stop, () => this.cancel());
    this.saveTable = button(WORDS.evaluateTable, () => saveFile(this.files.table, `${this.stem}-scores.csv`));
    this.saveSheet = button(WORDS.evaluateSheet, () => saveFile(this.files.sheet, `${this.stem}-sheet.png`));
    this.told = make("p", { role: "status" });
    this.table = new ScoreTable();
    this.gallery = new Gallery((name) => `${this.stem}-${name}.png`);
    element.classList.add("fl-evaluate");
    element.replaceChildren(
      make("p", {}, WORDS.evaluateHint),
      make(
        "fieldset",
        { class: "fl-methods" },
        make("legend", {}, WORDS.evaluateMethods),
        ...this.boxes.map(({ shown }) => shown),
      ),
      make("div", { class: "fl-row fl-evaluate-buttons" }, this.start, this.stop, this.saveTable, this.saveSheet),
      this.told,
      this.table.element,
      this.gallery.element,
    );
    addEventListener("pagehide", () => this.cancel());
    this.draw();
  }

  draw() {
    const isRunning = this.running !== null;
    setEnabled(this.start, !isRunning && this.boxes.some(({ input }) => input.checked));
    setEnabled(this.stop, isRunning);
    setEnabled(this.saveTable, !isRunning && this.files.table !== undefined);
    setEnabled(this.saveSheet, !isRunning && this.files.sheet !== undefined);
    for (const { input } of this.boxes) input.disabled = isRunning;
  }

  cancel() {
    this.running?.abort();
  }

  async run() {
    const chosen = this.methods.filter((_, at) => this.boxes[at].input.checked);
    const running = (this.running = new AbortController());
    this.draw();
    try {
      const given = await this.given();
      if (!given) {
        this.told.textContent = WORDS.evaluatePaint;
        return;
      }
      this.stem = given.stem;
      this.files = {};
      this.told.textContent = WORDS.checking;
      this.table.begin(chosen);
      this.gallery.clear();
      this.told.textContent = await this.follow(given, chosen, running.signal);
    } catch (error) {
      if (error.name === "AbortError") this.told.textContent = WORDS.stopped;
      else if (error instanceof ServerError) this.told.textContent = error.message;
      else throw error;
    } finally {
      this.table.end();
      this.running = null;
      this.draw();
    }
  }

  /** Show what becomes of each method. @returns {Promise<string>} what is said at the end */
  async follow(given, chosen, signal) {
    const order = chosen.map(({ name }) => name);
    let facts;
    for await (const line of compare(given, order, signal)) {
      if (line.state === "begun") {
        facts = line;
        const [truth, hole] = await Promise.all([line.truth, line.hole].map((text) => fromBase64(text, "image/png")));
        this.gallery.begin({ truth, hole }, line);
      } else if (line.method) {
        this.table.tell(line);
        if (line.state === "running") this.told.textContent = WORDS.evaluateAt(order.indexOf(line.method) + 1, order.length);
        if (line.picture) {
          const { name, title } = chosen[order.indexOf(line.method)];
          this.gallery.add(name, title, await fromBase64(line.picture, "image/png"));
        }
      } else {
        this.files = {
          table: await fromBase64(line.table, "text/csv"),
          sheet: await fromBase64(line.sheet, "image/png"),
        };
        return WORDS.evaluateDone(this.table.count, facts.share, facts.width, facts.height);
      }
    }
    return this.table.isSettled ? WORDS.evaluateNone : WORDS.evaluateEnded;
  }
}
