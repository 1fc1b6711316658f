/**
 * The work on one photo, kept in the browser so that a reload loses nothing. Nothing leaves the machine.
 *
 * Each tab has a draft of its own (tab.js); what a closed tab leaves behind is taken up by the next new one.
 */

import { putBlobs, takeBlobs } from "./blobs.js";
import { read, remove, write } from "./store.js";
import { forgetClosed, holder, isOld, newDraft, ownDraft } from "./tab.js";

/** What a draft may take. */
const LIMIT_BYTES = 200 * 2 ** 20;
const MAX_AGE_DAYS = 14;

/**
 * What of a draft fits: the photo, the fill that is shown, the Blobs of `also` in their order, then the other fills
 * from the newest on. Null where the photo does not.
 *
 * @param {import("./snapshot.js").Snapshot} snapshot @param {unknown} also @param {number} limit
 */
function fitting({ photo, fills }, also, limit) {
  /** @type {Set<Blob>} */
  const kept = new Set();
  let bytes = 0;
  const take = (/** @type {Blob} */ blob) => {
    if (!kept.has(blob) && bytes + blob.size <= limit) {
      bytes += blob.size;
      kept.add(blob);
    }
    return kept.has(blob);
  };
  if (!take(photo)) return null;
  if (fills.length) take(fills.at(-1).blob);
  for (const { blob } of takeBlobs(also).blobs) take(blob);
  let first = fills.length;
  while (first > 0 && take(fills[first - 1].blob)) first--;
  return { kept, bytes, fills: fills.slice(first) };
}

/** Names of Blobs, which are objects of the same identity while the page lives. */
const names = new WeakMap();
let named = 0;

function nameOf(/** @type {Blob} */ blob) {
  if (!names.has(blob)) names.set(blob, `${holder}-${named++}`);
  return names.get(blob);
}

/** Saving and forgetting take place one after the other. */
let last = Promise.resolve();
function inTurn(/** @type {() => Promise<any>} */ work) {
  const done = last.then(work);
  last = done.catch(() => {});
  return done;
}

async function save(entry, blobs) {
  if (await write(await ownDraft(), entry, blobs)) return;
  await write(await newDraft(), entry, blobs);
}

export const Draft = {
  /**
   * Keep a snapshot of a canvas; it takes the place of the one before in this tab.
   *
   * @param {import("./snapshot.js").Snapshot} snapshot
   * @param {{limitBytes?: number, also?: unknown}} options `also` is kept beside it: plain objects and arrays with
   *     Blobs anywhere in them, the most important first, as those for which there is no room are null when loaded
   * @returns {Promise<boolean>} false where the photo is larger than the limit; throws where the browser has no room
   */
  async save(snapshot, { limitBytes = LIMIT_BYTES, also } = {}) {
    const fit = fitting(snapshot, also, limitBytes);
    if (!fit) {
      await Draft.clear();
      return false;
    }
    const { kept, bytes, fills } = fit;
    const { value: state, blobs } = takeBlobs({ ...snapshot, fills, also });
    const found = blobs.filter(({ blob }) => kept.has(blob)).map(({ path, blob }) => ({ path, name: nameOf(blob) }));
    const entry = { saved: Date.now(), bytes, holder, state, blobs: found };
    const stored = new Map([...kept].map((blob) => [nameOf(blob), blob]));
    await inTurn(async () => {
      try {
        await save(entry, stored);
      } catch (error) {
        if (error?.name !== "QuotaExceededError") throw error;
        // This tab's work comes before that of closed ones.
        await forgetClosed({ maxAgeDays: MAX_AGE_DAYS, most: 0 });
        await save(entry, stored);
      }
    });
    return true;
  },

  /**
   * This tab's draft, or in a new tab the newest one of a closed tab, for `canvas.restore`; with what was kept beside
   * it as `also`. Null where there is none or it is too old.
   */
  async load({ maxAgeDays = MAX_AGE_DAYS } = {}) {
    const id = await ownDraft({ maxAgeDays });
    forgetClosed({ maxAgeDays }).catch(() => {}); // at the next loading, then
    const found = await read(id);
    if (!found || isOld(found.entry.saved, maxAgeDays)) {
      await Draft.clear();
      return null;
    }
    const { entry, named: stored } = found;
    for (const [name, blob] of stored) names.set(blob, name);
    const blobs = entry.blobs.map(({ path, name }) => ({ path, blob: stored.get(name) }));
    return { ...putBlobs(entry.state, blobs), saved: entry.saved };
  },

  /** Forget this tab's draft. */
  clear() {
    return inTurn(async () => remove(await ownDraft(), holder));
  },

  /**
   * Keep a canvas's work from now on, a moment after each change.
   *
   * @param {import("./maskcanvas.js").MaskCanvas} canvas
   * @param {{limitBytes?: number, delay?: number, also?: () => unknown}} options `also` gives what to keep beside it
   * @returns {() => void} ends it
   */
  keep(canvas, { limitBytes = LIMIT_BYTES, delay = 800, also = () => undefined } = {}) {
    let timer;
    let saving = Promise.resolve();
    let told = false;
    let ended = false;
    const saveNow = async () => {
      try {
        const snapshot = await canvas.snapshot();
        // With another photo open by now, there is another change to wait for.
        if (!snapshot || ended || snapshot.id !== canvas.id) return;
        const kept = await Draft.save(snapshot, { limitBytes, also: also() });
        canvas.emit("draft", { kept });
      } catch {
        // No room, or a private window: said once, not after every stroke.
        if (!told) canvas.complain(canvas.words.cannotKeep);
        told = true;
      }
    };
    const later = () => {
      clearTimeout(timer);
      timer = setTimeout(() => (saving = saving.then(saveNow)), delay);
    };
    canvas.addEventListener("change", later);
    if (canvas.isOpen) later();
    return () => {
      ended = true;
      clearTimeout(timer);
      canvas.removeEventListener("change", later);
    };
  },
};
