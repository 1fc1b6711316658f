/**
 * Names that a page holds as long as it lives, so that the other tabs of the browser leave them alone.
 *
 * Web Locks do that, which browsers offer over HTTPS and on this machine. Elsewhere (plain HTTP in a local network)
 * the tabs ask each other by a BroadcastChannel. A tab that the browser has put to sleep does not answer, so its name
 * may be held twice there: whoever writes under a name still has to look whose it is (see `holder` in store.js).
 */

const CHANNEL = "mask-canvas";
/** How long other tabs have to answer, in milliseconds. */
const ANSWER_MS = 250;

/** Web Locks. */
const byLocks = {
  async held() {
    return new Set((await navigator.locks.query()).held.map(({ name }) => name));
  },

  hold(name, wait) {
    const options = wait ? { signal: AbortSignal.timeout(wait) } : { ifAvailable: true };
    return new Promise((resolve) => {
      const keep = (lock) => {
        resolve(lock !== null);
        return lock && new Promise(() => {}); // never let go: it ends with the page
      };
      navigator.locks.request(name, options, keep).catch(() => resolve(false));
    });
  },

  whileFree(name, work) {
    return navigator.locks.request(name, { ifAvailable: true }, (lock) => (lock ? work() : undefined));
  },
};

/** Questions and answers among the tabs. */
function byChannel() {
  /** @type {Set<string>} */
  const own = new Set();
  const others = new Set();
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data: { asks, holds } }) => {
    if (asks && own.size) channel.postMessage({ holds: [...own] });
    for (const name of holds ?? []) others.add(name);
  };

  async function held() {
    others.clear();
    channel.postMessage({ asks: true });
    await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
    return new Set([...own, ...others]);
  }

  async function hold(name) {
    // Held while asking: of two tabs that ask at the same time, neither gets it.
    own.add(name);
    await held();
    if (!others.has(name)) return true;
    own.delete(name);
    return false;
  }

  async function whileFree(name, work) {
    if (own.has(name) || !(await hold(name))) return undefined;
    try {
      return await work();
    } finally {
      own.delete(name);
    }
  }

  return { held, hold, whileFree };
}

let way;
const how = () => (way ??= navigator.locks ? byLocks : byChannel());

/** The names that tabs hold, this one included. @returns {Promise<Set<string>>} */
export const held = () => how().held();

/**
 * Hold a name until the page ends.
 *
 * @param {string} name
 * @param {number} wait milliseconds, for a page that is just ending (a reload) to let go
 * @returns {Promise<boolean>} false where another tab holds it
 */
export const hold = (name, wait = 0) => how().hold(name, wait);

/** Do something while no tab holds a name; nothing where one does. */
export const whileFree = (/** @type {string} */ name, /** @type {() => Promise<any>} */ work) => how().whileFree(name, work);
