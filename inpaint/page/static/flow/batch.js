/** The Batch tab: several photos, each with its mask, filled one after the other. */

import { Cancelled, Job, ServerError } from "./api.js";
import { button, make, setEnabled } from "./elements.js";
import { saveFile, stemOf } from "./saving.js";
import { WORDS } from "./words.js";
import { zip } from "./zip.js";

/** How a mask's name may end, after the photo's. */
const ENDINGS = ["", "-mask", "_mask", ".mask"];

const SUFFIXES = {
  "image/jpeg": ".jpg",
  "image/png": ".png",
  "image/webp": ".webp",
  "image/gif": ".gif",
  "image/bmp": ".bmp",
  "image/tiff": ".tif",
};

/** The mask of a photo: the one of its name, or the only one for all. */
export function maskOf(/** @type {File} */ photo, /** @type {File[]} */ masks) {
  if (masks.length === 1) return masks[0];
  const names = ENDINGS.map((ending) => `${stemOf(photo.name)}${ending}`.toLowerCase());
  return masks.find((mask) => names.includes(stemOf(mask.name).toLowerCase()));
}

/** A name that is not taken yet. */
function freeName(/** @type {Set<string>} */ taken, /** @type {string} */ stem, /** @type {string} */ suffix) {
  let name = `${stem}-filled${suffix}`;
  for (let number = 2; taken.has(name); number++) name = `${stem}-filled-${number}${suffix}`;
  taken.add(name);
  return name;
}

export class Batch {
  /** @param {HTMLElement} element @param {() => {model: string, detail: string}} settings of the Fill tab */
  constructor(element, settings) {
    this.settings = settings;
    /** @type {Job | null} */
    this.job = null;
    this.isRunning = false;
    /** @type {{name: string, blob: Blob}[]} */
    this.results = [];
    this.photos = this.input(WORDS.batchPhotos, "batch-photos");
    this.masks = this.input(WORDS.batchMasks, "batch-masks");
    this.start = button(WORDS.batchStart, () => this.run(), { class: "fl-button fl-primary" });
    this.stop = button(WORDS.stop, () => this.cancel());
    this.save = button(WORDS.batchSave, () => this.saveAll());
    this.list = make("ol", { class: "fl-batch-list" });
    this.told = make("p", { role: "status" });
    element.classList.add("fl-batch");
    element.replaceChildren(
      make("p", {}, WORDS.batchHint),
      make("div", { class: "fl-row" }, ...this.photos.shown),
      make("div", { class: "fl-row" }, ...this.masks.shown),
      make("div", { class: "fl-row fl-batch-buttons" }, this.start, this.stop, this.save),
      this.told,
      this.list,
    );
    addEventListener("pagehide", () => this.cancel());
    this.draw();
  }

  input(/** @type {string} */ text, /** @type {string} */ id) {
    const input = make("input", { id, type: "file", multiple: true, accept: "image/*,.tif,.tiff", change: () => this.draw() });
    return { input, shown: [make("label", { for: id }, text), input] };
  }

  draw() {
    const ready = this.photos.input.files.length > 0 && this.masks.input.files.length > 0;
    setEnabled(this.start, ready && !this.isRunning);
    setEnabled(this.stop, this.isRunning);
    setEnabled(this.save, this.results.length > 0 && !this.isRunning);
    this.photos.input.disabled = this.masks.input.disabled = this.isRunning;
  }

  async run() {
    const photos = [...this.photos.input.files];
    const masks = [...this.masks.input.files];
    const settings = this.settings();
    const taken = new Set();
    this.isRunning = true;
    this.results = [];
    const rows = photos.map(({ name }) => {
      const state = make("span", { class: "fl-batch-state" }, WORDS.batchWaits);
      this.list.append(make("li", {}, make("strong", {}, name), " ", state));
      return state;
    });
    this.list.replaceChildren(...rows.map((state) => state.parentElement));
    this.draw();
    for (const [at, photo] of photos.entries()) {
      if (!this.isRunning) {
        rows[at].textContent = WORDS.batchStopped;
        continue;
      }
      this.told.textContent = WORDS.batchAt(at + 1, photos.length);
      rows[at].textContent = await this.one(photo, maskOf(photo, masks), settings, taken, rows[at]);
    }
    this.isRunning = false;
    this.told.textContent = WORDS.batchDone(this.results.length, photos.length);
    this.draw();
  }

  /** Fill one photo. @returns {Promise<string>} what became of it */
  async one(photo, mask, { model, detail }, taken, row) {
    if (!mask) return WORDS.batchNoMask;
    try {
      this.job = new Job({ model, detail, image: photo, mask }, (status) => (row.textContent = tellOf(status)));
      const blob = await this.job.run();
      const name = freeName(taken, stemOf(photo.name), SUFFIXES[blob.type] ?? "");
      this.results.push({ name, blob });
      return WORDS.batchFilled(name);
    } catch (error) {
      if (error instanceof Cancelled) return WORDS.batchStopped;
      if (error instanceof ServerError) return error.message;
      throw error;
    } finally {
      this.job = null;
    }
  }

  cancel() {
    this.isRunning = false;
    this.job?.cancel();
  }

  async saveAll() {
    saveFile(await zip(this.results), "filled.zip");
  }
}

function tellOf({ state, progress, place, seconds_left: seconds }) {
  if (state === "sending") return WORDS.sending(progress);
  if (state === "waiting") return WORDS.waiting(place, seconds);
  if (state === "running") return WORDS.filling(seconds);
  return state === "offline" ? WORDS.offline : state === "fetching" ? WORDS.fetching : WORDS.checking;
}
