/** What a visitor chose, kept in the browser; forgotten with the page where storage is switched off. */

const KEY = "inpaint-";

/** Whether a switch was on. */
export function remembered(/** @type {string} */ name) {
  try {
    return localStorage.getItem(KEY + name) === "on";
  } catch {
    return false;
  }
}

export function remember(/** @type {string} */ name, /** @type {boolean} */ on) {
  try {
    localStorage.setItem(KEY + name, on ? "on" : "off");
  } catch {
    // It holds as long as the page is open.
  }
}
