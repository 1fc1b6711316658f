/** Builds the Fill and Batch tabs where the page has places for them. */

import { Batch } from "./batch.js";
import { Flow } from "./flow.js";

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
/** @type {HTMLElement | null} */
let batch = null;

/** Build the Batch tab once it is shown. */
function placeBatch() {
  const found = document.getElementById("batch");
  if (!found || !flow || found === batch) return;
  if (batch) found.replaceWith(batch);
  else new Batch((batch = found), () => flow.panel.settings);
}

/** Build the tab, or put it back where the page has made its place anew. */
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

// For the Evaluate tab (`evaluate_tab.py`), and for tests.
window.inpaintPage = {
  get flow() {
    return flow;
  },
  compared: async (given) => [...(flow ? await flow.compared() : ["", ""]), ...given.slice(2)],
};

function placeAll() {
  place();
  placeBatch();
}
new MutationObserver(placeAll).observe(document.documentElement, { childList: true, subtree: true });
placeAll();
