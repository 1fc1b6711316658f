/**
 * Which draft is this tab's. The tab knows it across reloads by its sessionStorage. As a duplicated tab gets a copy of
 * that, the draft is also held (see holding.js), and only one tab can do so.
 */

import { held, hold, whileFree } from "./holding.js";
import { adopt, list, remove } from "./store.js";

const KEY = "mask-canvas-draft";
/** How long the page before has to let its draft go, in milliseconds: at a reload there is one, and it will. */
const RELOAD_MS = 15_000;
const WAIT_MS = 1000;
/** What the drafts of closed tabs may be. */
const MOST_CLOSED = 4;
const CLOSED_BYTES = 400 * 2 ** 20;

const lockOf = (/** @type {string} */ id) => `${KEY}-${id}`;

const DAY_MS = 86_400_000;
export const isOld = (/** @type {number} */ saved, /** @type {number} */ maxAgeDays) => Date.now() - saved > maxAgeDays * DAY_MS;

/** A name that no other page has; `crypto.randomUUID` is not there over plain HTTP. */
const random = () => Array.from(crypto.getRandomValues(new Uint32Array(3)), (part) => part.toString(36)).join("-");

function remembered() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null; // storage is switched off
  }
}

function remember(/** @type {string} */ id) {
  try {
    sessionStorage.setItem(KEY, id);
  } catch {
    // A reload then takes up the newest draft.
  }
}

/** This page, as the holder of its draft. */
export const holder = random();

/** @type {Promise<string> | null} */
let own = null;

/** The newest draft of a closed tab, held from now on; null where there is none. */
async function takeUp(/** @type {number} */ maxAgeDays) {
  const taken = await held();
  for (const { id, saved } of await list()) {
    if (!isOld(saved, maxAgeDays) && !taken.has(lockOf(id)) && (await hold(lockOf(id)))) return id;
  }
  return null;
}

async function begin(/** @type {number | null} */ maxAgeDays) {
  const before = remembered();
  const wait = performance.getEntriesByType("navigation")[0]?.type === "reload" ? RELOAD_MS : WAIT_MS;
  let id = before && (await hold(lockOf(before), wait)) ? before : null;
  if (!id && maxAgeDays !== null) id = await takeUp(maxAgeDays);
  if (!id) return another();
  remember(id);
  await adopt(id, holder);
  return id;
}

async function another() {
  const id = random();
  remember(id);
  await hold(lockOf(id));
  return id;
}

/**
 * The name of this tab's draft.
 *
 * @param {{maxAgeDays?: number | null}} options a tab without a draft takes up one of a closed tab that is not older;
 *     null where it does not
 */
export function ownDraft({ maxAgeDays = null } = {}) {
  own ??= begin(maxAgeDays).catch((error) => {
    own = null;
    throw error;
  });
  return own;
}

/** Another tab has taken this tab's draft up, as this one was asleep: a new one. */
export const newDraft = () => (own = another());

/** Forget drafts of closed tabs: the oldest where they are too many or too large, and all that are too old. */
export async function forgetClosed({ maxAgeDays, most = MOST_CLOSED, bytes = CLOSED_BYTES }) {
  const taken = await held();
  let room = bytes;
  let count = 0;
  for (const draft of await list()) {
    if (taken.has(lockOf(draft.id))) continue;
    room -= draft.bytes;
    if (++count > most || room < 0 || isOld(draft.saved, maxAgeDays)) {
      // Not where a tab has taken it up by now.
      await whileFree(lockOf(draft.id), () => remove(draft.id));
    }
  }
}
