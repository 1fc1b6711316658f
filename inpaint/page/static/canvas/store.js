/**
 * Drafts in the browser's database (IndexedDB). Each Blob is an entry of its own and is written once, not with every
 * change of the draft that it belongs to: the database copies the whole of a Blob at each writing.
 *
 * @typedef {{
 *   saved: number, bytes: number, holder: string, state: any, blobs: {path: string[], name: string}[],
 * }} Entry a draft: when it was saved, by which page, and its state without the Blobs (see blobs.js)
 */

const DATABASE = "mask-canvas";
const VERSION = 2;
const DRAFTS = "drafts";
const BLOBS = "blobs";
/** The one store of version 1, which had one draft for all tabs; and what that draft is called now. */
const FORMER = "draft";
const FORMER_ID = "former";

/** The result of a request. @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** The keys of a draft's Blobs. */
const blobsOf = (/** @type {string} */ id) => IDBKeyRange.bound([id], [id, []]);

/** The entry of a draft of version 1, from its state and its Blobs by their names. @returns {Entry} */
function formerEntry({ id, name, mask, saved, photo, fills }, /** @type {Map<string, Blob>} */ named) {
  const places = fills.map(({ blob }, at) => ({ path: ["fills", String(at), "blob"], name: blob }));
  const state = { id, name, mask, photo: null, fills: fills.map((fill) => ({ mask: fill.mask, blob: null })) };
  const bytes = [...named.values()].reduce((sum, blob) => sum + blob.size, 0);
  return { saved, bytes, holder: "", state, blobs: [{ path: ["photo"], name: photo }, ...places] };
}

/** Make the stores, and take over the draft of version 1. */
async function upgrade(/** @type {IDBDatabase} */ database, /** @type {IDBTransaction} */ transaction) {
  const drafts = database.createObjectStore(DRAFTS);
  const blobs = database.createObjectStore(BLOBS);
  if (!database.objectStoreNames.contains(FORMER)) return;
  const store = transaction.objectStore(FORMER);
  const [keys, values] = await Promise.all([result(store.getAllKeys()), result(store.getAll())]);
  database.deleteObjectStore(FORMER);
  const named = new Map(keys.map((key, at) => [key, values[at]]));
  const state = named.get("state");
  named.delete("state");
  if (!state) return;
  drafts.put(formerEntry(state, named), FORMER_ID);
  for (const [name, blob] of named) blobs.put(blob, [FORMER_ID, name]);
}

/** Do something with both stores as one transaction. */
async function withStores(mode, /** @type {(drafts: IDBObjectStore, blobs: IDBObjectStore) => Promise<any>} */ work) {
  const opening = indexedDB.open(DATABASE, VERSION);
  opening.onupgradeneeded = () => {
    upgrade(opening.result, opening.transaction).catch(() => {}); // a former draft that is damaged is given up
  };
  const database = await result(opening);
  try {
    const transaction = database.transaction([DRAFTS, BLOBS], mode);
    const ended = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
    ended.catch(() => {}); // `work` fails first and says why
    const value = await work(transaction.objectStore(DRAFTS), transaction.objectStore(BLOBS));
    await ended;
    return value;
  } finally {
    database.close();
  }
}

/** All drafts, the newest first. @returns {Promise<{id: string, saved: number, bytes: number}[]>} */
export function list() {
  return withStores("readonly", async (drafts) => {
    const [ids, entries] = await Promise.all([result(drafts.getAllKeys()), result(drafts.getAll())]);
    const found = ids.map((id, at) => ({ id, saved: entries[at].saved, bytes: entries[at].bytes }));
    return found.sort((a, b) => b.saved - a.saved);
  });
}

/** Make a draft, where there is one, a page's own. */
export function adopt(/** @type {string} */ id, /** @type {string} */ holder) {
  return withStores("readwrite", async (drafts) => {
    const entry = await result(drafts.get(id));
    if (entry) drafts.put({ ...entry, holder }, id);
  });
}

/** A draft and its Blobs by their names; null where there is none, or a Blob is lost. */
export function read(/** @type {string} */ id) {
  return withStores("readonly", async (drafts, blobs) => {
    /** @type {Entry | undefined} */
    const entry = await result(drafts.get(id));
    if (!entry) return null;
    const [keys, values] = await Promise.all([
      result(blobs.getAllKeys(blobsOf(id))),
      result(blobs.getAll(blobsOf(id))),
    ]);
    const named = new Map(keys.map((key, at) => [key[1], values[at]]));
    return entry.blobs.every(({ name }) => named.has(name)) ? { entry, named } : null;
  });
}

/**
 * Write a draft, and those of its Blobs that are not stored yet.
 *
 * @param {string} id
 * @param {Entry} entry
 * @param {Map<string, Blob>} named
 * @returns {Promise<boolean>} false where another page has made the draft its own
 */
export function write(id, entry, named) {
  return withStores("readwrite", async (drafts, blobs) => {
    const [before, keys] = await Promise.all([result(drafts.get(id)), result(blobs.getAllKeys(blobsOf(id)))]);
    if (before && before.holder !== entry.holder) return false;
    const stored = new Set(keys.map((key) => key[1]));
    for (const name of stored) if (!named.has(name)) blobs.delete([id, name]);
    for (const [name, blob] of named) if (!stored.has(name)) blobs.put(blob, [id, name]);
    drafts.put(entry, id);
    return true;
  });
}

/** Forget a draft; one of another page only where no holder is given. */
export function remove(/** @type {string} */ id, /** @type {string | null} */ holder = null) {
  return withStores("readwrite", async (drafts, blobs) => {
    const entry = await result(drafts.get(id));
    if (holder !== null && entry && entry.holder !== holder) return;
    drafts.delete(id);
    blobs.delete(blobsOf(id));
  });
}
