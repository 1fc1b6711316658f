/** Builds the tabs where the page has places for them. */

import { Batch } from "./batch.js";
import { Evaluate } from "./evaluate.js";
import { Flow } from "./flow.js";
import { Trace } from "./trace.js";

const narrow = matchMedia("(max-width: 800px)");

/** Give the tab the height that the window has below the page's head. */
function fit(/** @type {HTMLElement} */ element, /** @type {HTMLElement} */ tools) {
  const { top } = element.getBoundingClientRect();
  if (element.offsetParent) element.style.setProperty("--fl-top", `${Math.max(0, Math.round(top + scrollY))}px`);
  tools.dataset.side = narrow.matches ? "bottom" : "top";
}

/** @type {Flow | null} */
let flow = null;
/** @type {HTMLElement | null} */
let element = null;
/** What each of the other tabs is built by, by the id of its place. */
const others = {
  batch: (place) => new Batch(place, () => flow.panel.settings),
  evaluate: (place) => new Evaluate(place, () => flow.compared(), JSON.parse(place.dataset.settings).methods),
  trace: (place) => new Trace(place, () => flow.traced()),
};
/** @type {Record<string, HTMLElement>} */
const built = {};

/** Build a tab once it is shown, or put it back where the page has made its place anew. */
function placeOther(/** @type {string} */ name) {
  const found = document.getElementById(name);
  if (!found || !flow || found === built[name]) return;
  if (built[name]) found.replaceWith(built[name]);
  else others[name]((built[name] = found));
}

/** Build the Fill tab, or put it back. */
function place() {
  const found = document.getElementById("flow");
  if (!found || found === element) return;
  if (element) {
    found.replaceWith(element);
    return;
  }
  element = found;
  flow = new Flow(element, JSON.parse(element.dataset.settings));
  const again = () => fit(element, flow.tools);
  again();
  addEventListener("resize", again);
  narrow.addEventListener("change", again);
  new ResizeObserver(again).observe(document.body);
  flow.restore().then(() => (element.dataset.ready = ""));
}

// For tests.
window.inpaintPage = {
  get flow() {
    return flow;
  },
};

function placeAll() {
  place();
  for (const name of Object.keys(others)) placeOther(name);
}
new MutationObserver(placeAll).observe(document.documentElement, { childList: true, subtree: true });
placeAll();
