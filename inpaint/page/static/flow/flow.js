/** The Fill tab: a photo is opened, painted on, filled, and saved. */

import { readMask } from "../canvas/decoding.js";
import { CanvasError, Draft, MaskCanvas, Toolbar } from "../canvas/index.js";
import { Cancelled, convert, fetchExample, fitToObject, Job, listModels, ServerError, writeLike } from "./api.js";
import { make } from "./elements.js";
import { Fills, maskFile, restoredFills } from "./fills.js";
import { Notices } from "./notices.js";
import { Panel, suggestedGrowth } from "./panel.js";
import { formatOf, saveFile, stemOf } from "./saving.js";
import { makeStart } from "./start.js";
import { WORDS } from "./words.js";

let photos = 0;

/**
 * @typedef {{
 *   maxBytes: number, maxPixels: number, largestSeed: number, examples: {file: string, title: string}[],
 * }} PageSettings
 */

export class Flow {
  /** @param {HTMLElement} element @param {PageSettings} settings */
  constructor(element, settings) {
    this.settings = settings;
    this.element = element;
    this.tools = make("div", { class: "fl-tools" });
    this.place = make("div", { class: "fl-place" });
    this.side = make("div", { class: "fl-side", role: "region", "aria-label": WORDS.settings, tabindex: "-1" });
    element.replaceChildren(this.tools, this.place, this.side);
    element.classList.add("fl");
    this.panel = new Panel(this.side, {
      fill: () => this.canvas.requestFill(),
      another: () => this.fill({ another: true }),
      fitMask: () => this.fitMask(),
      open: (file) => this.open(file),
      save: () => this.save(),
      savePNG: () => saveFile(this.canvas.picture.blob, `${this.stem}-filled.png`),
      saveMask: () => this.saveMask(),
      choose: (fill) => this.choose(fill),
    });
    /** @type {Job | null} */
    this.job = null;
    /** A fill that is about to have a job. @type {symbol | null} */
    this.starting = null;
    this.begin();
    listModels().then((models) => this.panel.setModels(models), (error) => this.complain(error.message));
    addEventListener("pagehide", () => this.stop({ quiet: true }));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.stop();
    });
  }

  /** Start with no photo. */
  begin() {
    this.ending?.abort();
    this.keeping?.();
    this.bar?.destroy();
    this.canvas?.destroy();
    this.place.replaceChildren();
    const canvas = (this.canvas = new MaskCanvas(this.place, { maxPixels: this.settings.maxPixels }));
    this.bar = new Toolbar(this.tools, canvas);
    this.notices = new Notices(this.place, { stop: () => this.stop(), discard: () => this.discard() });
    this.start = makeStart(this.settings.examples, {
      open: (file) => this.open(file),
      openExample: (name) => this.openExample(name),
    });
    this.place.append(this.start);
    /** The file as it was chosen, which finished files are made like. @type {Blob | null} */
    this.original = null;
    this.format = "";
    /** What the server changed in reading the photo, such as 16 bits a channel. @type {string[]} */
    this.notes = [];
    this.fills = new Fills();
    this.ending = new AbortController();
    const on = (name, handler) => canvas.addEventListener(name, handler, { signal: this.ending.signal });
    on("photofile", ({ detail }) => this.open(detail.file));
    on("message", ({ detail }) => this.complain(detail.text));
    on("open", ({ detail }) => this.opened(detail));
    on("change", () => this.draw());
    on("strokeend", ({ detail }) => {
      this.notices.quiet();
      this.notices.showRestored(false);
      this.draw();
      const isMeant = detail.lifted && detail.changed && !detail.erases;
      if (isMeant && this.panel.fillsAtOnce) queueMicrotask(() => this.fill()); // once the canvas has said its own
    });
    on("fill", () => this.fill());
    on("cancel", () => this.stop());
    this.draw();
  }

  /** Go on with what was kept in this browser. */
  async restore() {
    const draft = await Draft.load().catch(() => null);
    if (draft && !this.canvas.isOpen) {
      try {
        const { also, photo } = draft;
        const fills = also ? Fills.restored(also.fills) : restoredFills(draft);
        this.arriving = { original: also?.original ?? photo, fills, notes: also?.notes ?? [], settings: also?.settings };
        if (await this.canvas.restore(draft)) this.notices.showRestored(true);
      } catch {
        await Draft.clear(); // it cannot be opened any more; `message` has said why
      }
    }
    if (!this.keeping) this.keep();
  }

  /** Forget the photo and what was kept of it. */
  async discard() {
    this.stop({ quiet: true });
    this.begin();
    await Draft.clear().catch(() => {});
    this.keep();
  }

  /** Keep the work in this browser from now on; what matters most comes first. */
  keep() {
    const also = () => {
      const { original, notes, fills, panel } = this;
      return { original, notes, fills: fills.kept(), settings: panel.settings };
    };
    this.keeping = Draft.keep(this.canvas, { also });
  }

  complain(/** @type {string} */ text) {
    this.notices.complain(text);
  }

  get stem() {
    return stemOf(this.canvas.name);
  }

  // Opening

  async open(/** @type {File} */ file) {
    this.notices.quiet();
    if (file.size > this.settings.maxBytes) return this.complain(WORDS.tooHeavy(file.size, this.settings.maxBytes));
    const ticket = (this.ticket = Symbol(file.name));
    try {
      let shown = file;
      if ((await formatOf(file)) === "TIFF") {
        if (!this.job) this.notices.showWork({ text: WORDS.reading, canStop: false });
        shown = await convert(file);
      }
      if (ticket !== this.ticket) return;
      this.arriving = { original: file, fills: new Fills(), notes: [] };
      const id = `${Date.now().toString(36)}-${++photos}`;
      if (await this.canvas.openPhoto(shown, { id, name: file.name })) this.canvas.focus();
    } catch (error) {
      if (error instanceof ServerError) this.complain(error.message);
      else if (!(error instanceof CanvasError)) throw error;
    } finally {
      if (!this.job) this.notices.showWork(null);
    }
  }

  async openExample(/** @type {string} */ name) {
    try {
      await this.open(await fetchExample(name));
    } catch (error) {
      this.complain(error.message);
    }
  }

  /** Another photo is on the canvas. */
  opened({ width, height }) {
    const hadJob = this.isFilling;
    this.stop({ quiet: true });
    this.notices.quiet();
    this.notices.showRestored(false);
    if (hadJob) this.canvas.say(WORDS.stoppedForOther);
    this.start.remove();
    const { settings, ...arriving } = this.arriving;
    Object.assign(this, arriving);
    this.format = "";
    formatOf(this.original).then((format) => {
      this.format = format;
      this.draw();
    });
    if (settings) this.panel.restoreSettings(settings);
    else this.panel.setGrowth(suggestedGrowth(width, height));
    this.draw();
  }

  // Filling

  /** The hole to fill: what is painted, or else the one of the fill that is shown. */
  hole({ another = false } = {}) {
    const { canvas } = this;
    if (!canvas.mask.isEmpty()) {
      const input = canvas.picture === canvas.photo ? this.original : canvas.picture.blob;
      return { input, runs: canvas.mask.toRunLength() };
    }
    const current = another ? this.current : null;
    return current && { input: current.input, runs: current.runs };
  }

  /** The fill that is shown. */
  get current() {
    return this.fills.of(this.canvas.picture?.blob);
  }

  get isFilling() {
    return this.job !== null || this.starting !== null;
  }

  async fill({ another = false } = {}) {
    const { canvas } = this;
    if (this.isFilling || this.isFitting) return;
    if (!canvas.isOpen) return this.complain(WORDS.openFirst);
    this.notices.quiet();
    const hole = this.hole({ another });
    if (!hole) return this.complain(WORDS.paintFirst);
    if (canvas.mask.share() === 1) return this.complain(WORDS.everything);
    const chosen = this.panel.settings;
    const seed = another && chosen.detail === "photo" ? Math.min(this.fills.nextSeed(hole), this.settings.largestSeed) : 0;
    const settings = { ...chosen, seed };
    const known = this.fills.ofHole(hole).some((fill) => JSON.stringify(fill.settings) === JSON.stringify(settings));
    if (another && known) return this.complain(WORDS.onlyOne);
    this.notices.showRestored(false);
    await this.make(hole, settings);
  }

  async make(hole, settings) {
    const { canvas } = this;
    const { id } = canvas;
    canvas.setLocked(true);
    canvas.say(WORDS.started);
    const { model, detail, grow, seed } = settings;
    const start = (this.starting = Symbol(id));
    let job = null;
    try {
      const mask = await maskFile(hole.runs);
      if (this.starting !== start) return; // stopped already
      this.starting = null;
      job = this.job = new Job(
        { model, detail, grow: String(grow), seed: String(seed), format: "png", image: hole.input, mask },
        (status) => this.job === job && this.tell(status, hole.input === this.original),
      );
      this.draw();
      const blob = await job.run();
      if (this.job !== job || id !== canvas.id) return;
      this.finish();
      this.fills.add({ ...hole, blob, settings, seed });
      await canvas.showFill(blob, { id });
    } catch (error) {
      if (this.job === job) this.finish();
      if (error instanceof Cancelled) return;
      if (!(error instanceof ServerError || error instanceof CanvasError)) throw error;
      if (id === canvas.id) this.complain(error.message);
    } finally {
      this.draw();
    }
  }

  tell({ state, progress, place, seconds_left: seconds, notes }, isOriginal) {
    if (notes && isOriginal) this.notes = notes;
    const work = {
      sending: () => ({ text: WORDS.sending(progress), progress: progress < 1 ? progress : undefined }),
      checking: () => ({ text: WORDS.checking }),
      waiting: () => ({ text: WORDS.waiting(place, seconds) }),
      running: () => ({ text: WORDS.filling(seconds), progress }),
      fetching: () => ({ text: WORDS.fetching, progress: 1 }),
      offline: () => ({ text: WORDS.offline }),
    }[state];
    if (work) this.notices.showWork(work());
  }

  /** There is no job any more. */
  finish() {
    this.job = this.starting = null;
    this.notices.showWork(null);
    this.canvas.setLocked(false);
  }

  /** End the job that runs. */
  stop({ quiet = false } = {}) {
    if (!this.isFilling) return;
    const { job } = this;
    this.finish();
    job?.cancel();
    if (!quiet) this.canvas.say(WORDS.stopped);
    this.draw();
  }

  async choose(/** @type {import("./fills.js").Fill} */ fill) {
    if (this.isFilling || fill === this.current) return;
    await this.canvas.showFill(fill.blob, { id: this.canvas.id });
    this.draw();
  }

  /** Make what is painted the object that it lies on, as one step. */
  async fitMask() {
    const { canvas } = this;
    if (canvas.mask.isEmpty()) return this.complain(WORDS.paintRoughly);
    const { id } = canvas;
    const { input, runs } = this.hole();
    this.notices.quiet();
    this.notices.showWork({ text: WORDS.fitting, canStop: false });
    this.isFitting = true;
    canvas.setLocked(true);
    this.draw();
    try {
      const mask = await readMask(await fitToObject(input, await maskFile(runs)));
      if (id !== canvas.id) return;
      canvas.setLocked(false);
      canvas.edit("load", (own) => {
        own.fillBox(own.box, 0);
        own.add(mask.bits);
      });
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (id === canvas.id) this.complain(error.message);
    } finally {
      this.isFitting = false;
      if (!this.job) this.finish();
      this.draw();
    }
  }

  // Saving

  async save() {
    const { canvas, stem } = this;
    this.notices.quiet();
    this.notices.showWork({ text: WORDS.writing, canStop: false });
    try {
      const { blob, suffix } = await writeLike(this.original, canvas.picture.blob);
      saveFile(blob, `${stem}-filled${suffix}`);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      this.complain(error.message);
    } finally {
      if (!this.job) this.notices.showWork(null);
    }
  }

  async saveMask() {
    const hole = this.hole({ another: true });
    if (hole) saveFile(await maskFile(hole.runs), `${this.stem}-mask.png`);
  }

  /** What the Evaluate tab compares: the photo as it was opened, and the hole; undefined where there are none. */
  async compared() {
    const hole = this.canvas.isOpen && this.hole({ another: true });
    return hole ? { photo: this.original, mask: await maskFile(hole.runs), stem: this.stem } : undefined;
  }

  /** The fill that the Trace tab looks into, with what it was made from; undefined where none is shown. */
  async traced() {
    const fill = this.canvas.isOpen && this.current;
    if (!fill?.settings) return undefined;
    return { photo: fill.input, mask: await maskFile(fill.runs), fill: fill.blob, settings: fill.settings, stem: this.stem };
  }

  // Seeing

  facts() {
    const { name, photo } = this.canvas;
    return [name, WORDS.size(photo.width, photo.height), this.format, ...this.notes].filter(Boolean).join(" · ");
  }

  draw() {
    const { canvas, fills, isFilling, format } = this;
    const { isOpen } = canvas;
    this.element.classList.toggle("fl-busy", isFilling);
    this.panel.draw({
      isOpen,
      isBusy: isFilling || this.isFitting === true,
      isPainted: isOpen && !canvas.mask.isEmpty(),
      current: isOpen ? this.current : undefined,
      fills: fills.all,
      format,
      facts: isOpen ? this.facts() : "",
    });
  }
}
