/**
 * The work on one photo, kept in the browser (IndexedDB) so that a reload loses nothing. Nothing leaves the machine.
 *
 * There is one draft. The photo and each fill are written once, not again with every stroke.
 */

const DATABASE = "mask-canvas";
const STORE = "draft";
/** What a draft may take. Where all fills are more, the oldest are left out; a larger photo is not kept. */
const LIMIT_BYTES = 200 * 2 ** 20;
const MAX_AGE_DAYS = 14;

/** The result of a request. @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Do something with the store as one transaction. */
async function withStore(mode, /** @type {(store: IDBObjectStore) => Promise<any>} */ work) {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await result(opening);
  try {
    const transaction = database.transaction(STORE, mode);
    const ended = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
    ended.catch(() => {}); // `work` fails first and says why
    const value = await work(transaction.objectStore(STORE));
    await ended;
    return value;
  } finally {
    database.close();
  }
}

/** The newest fills that fit beside the photo. */
function fitting({ photo, fills }, limit) {
  let bytes = photo.size;
  let first = fills.length;
  while (first > 0 && bytes + fills[first - 1].blob.size <= limit) bytes += fills[--first].blob.size;
  return fills.slice(first);
}

/** Names of the blobs already stored; objects keep their identity while the canvas is open. */
const names = new WeakMap();
let named = 0;
const session = Date.now().toString(36);

function nameOf(/** @type {Blob} */ blob) {
  if (!names.has(blob)) names.set(blob, `blob-${session}-${named++}`);
  return names.get(blob);
}

export const Draft = {
  /**
   * Keep a snapshot of a canvas; it takes the place of the one before.
   *
   * @param {import("./snapshot.js").Snapshot} snapshot
   * @param {{limitBytes?: number}} options
   * @returns {Promise<boolean>} false where the photo is larger than the limit; throws where the browser has no room
   */
  async save(snapshot, { limitBytes = LIMIT_BYTES } = {}) {
    if (snapshot.photo.size > limitBytes) {
      await Draft.clear();
      return false;
    }
    const fills = fitting(snapshot, limitBytes);
    const blobs = new Map([snapshot.photo, ...fills.map((fill) => fill.blob)].map((blob) => [nameOf(blob), blob]));
    const { id, name, mask } = snapshot;
    const state = { id, name, mask, photo: nameOf(snapshot.photo), saved: Date.now() };
    state.fills = fills.map((fill) => ({ blob: nameOf(fill.blob), mask: fill.mask }));
    await withStore("readwrite", async (store) => {
      const stored = new Set(await result(store.getAllKeys()));
      for (const key of stored) if (key !== "state" && !blobs.has(key)) store.delete(key);
      for (const [key, blob] of blobs) if (!stored.has(key)) store.put(blob, key);
      store.put(state, "state");
    });
    return true;
  },

  /** The kept snapshot, for `canvas.restore`; null where there is none or it is too old. */
  async load({ maxAgeDays = MAX_AGE_DAYS } = {}) {
    const draft = await withStore("readonly", async (store) => {
      const state = await result(store.get("state"));
      if (!state) return null;
      const get = (key) => result(store.get(key));
      const [photo, ...blobs] = await Promise.all([state.photo, ...state.fills.map((fill) => fill.blob)].map(get));
      if (!photo || blobs.some((blob) => !blob)) return null;
      return { ...state, photo, fills: state.fills.map((fill, i) => ({ ...fill, blob: blobs[i] })) };
    });
    if (draft && Date.now() - draft.saved <= maxAgeDays * 86_400_000) return draft;
    await Draft.clear();
    return null;
  },

  /** Forget the draft. */
  clear() {
    return withStore("readwrite", async (store) => void store.clear());
  },

  /**
   * Keep a canvas's work from now on, a moment after each change.
   *
   * @param {import("./maskcanvas.js").MaskCanvas} canvas
   * @param {{limitBytes?: number, delay?: number}} options
   * @returns {() => void} ends it
   */
  keep(canvas, { limitBytes = LIMIT_BYTES, delay = 800 } = {}) {
    let timer;
    let saving = Promise.resolve();
    let told = false;
    const save = async () => {
      try {
        const snapshot = await canvas.snapshot();
        if (!snapshot) return;
        const kept = await Draft.save(snapshot, { limitBytes });
        canvas.emit("draft", { kept });
      } catch {
        // No room, or a private window: said once, not after every stroke.
        if (!told) canvas.complain(canvas.words.cannotKeep);
        told = true;
      }
    };
    const later = () => {
      clearTimeout(timer);
      timer = setTimeout(() => (saving = saving.then(save)), delay);
    };
    canvas.addEventListener("change", later);
    return () => {
      clearTimeout(timer);
      canvas.removeEventListener("change", later);
    };
  },
};
