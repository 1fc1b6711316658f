/** A table of scores that fills up while methods are compared, and what the scores mean. */

import { make } from "./elements.js";
import { WORDS } from "./words.js";

const KEYS = Object.keys(WORDS.scores);

export class ScoreTable {
  constructor() {
    const heads = KEYS.map((key) => make("th", { scope: "col" }, WORDS.scores[key].title));
    this.body = make("tbody");
    const meanings = Object.values(WORDS.scores).flatMap(({ title, meaning }) => [make("dt", {}, title), make("dd", {}, meaning)]);
    this.element = make(
      "div",
      { class: "fl-scores", hidden: true },
      make(
        "div",
        { class: "fl-scroll", role: "region", "aria-label": WORDS.evaluateScores, tabindex: 0 },
        make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, WORDS.evaluateMethod), ...heads)), this.body),
      ),
      make("details", { open: !matchMedia("(max-width: 800px)").matches }, make("summary", {}, WORDS.evaluateMeaning), make("dl", {}, ...meanings)),
    );
    /** @type {Map<string, {row: HTMLElement, scores?: Record<string, number | null>, settled?: boolean}>} */
    this.rows = new Map();
  }

  /** How many methods have scores. */
  get count() {
    return [...this.rows.values()].filter(({ scores }) => scores).length;
  }

  /** Whether each method has scores or has failed. */
  get isSettled() {
    return [...this.rows.values()].every(({ settled }) => settled);
  }

  begin(/** @type {{name: string, title: string}[]} */ methods) {
    this.rows = new Map(methods.map(({ name, title }) => [name, { row: makeRow(title, WORDS.evaluateWaits) }]));
    this.body.replaceChildren(...[...this.rows.values()].map(({ row }) => row));
    this.element.hidden = false;
  }

  /** Show what is told of one method. */
  tell({ method, state, scores, detail, place, progress }) {
    const entry = this.rows.get(method);
    if (state === "done") {
      Object.assign(entry, { scores, settled: true });
      entry.row.querySelector("td").replaceWith(...KEYS.map((key) => make("td", { class: "fl-number" }, written(key, scores[key]))));
      this.markBest();
      return;
    }
    if (state === "failed") entry.settled = true;
    const text = state === "failed" ? detail : state === "waiting" ? WORDS.evaluateQueued(place) : WORDS.evaluateRunning(progress);
    entry.row.querySelector("td").textContent = text;
  }

  /** Say of those that were not reached that they were not. */
  end() {
    for (const { row, settled } of this.rows.values()) if (!settled) row.querySelector("td").textContent = "–";
  }

  markBest() {
    const entries = [...this.rows.values()].filter(({ scores }) => scores);
    for (const [column, key] of KEYS.entries()) {
      const { better } = WORDS.scores[key];
      if (!better) continue;
      const values = entries.map(({ scores }) => (scores[key] === null ? -Infinity : better(scores[key])));
      const best = Math.max(...values);
      for (const [at, { row }] of entries.entries()) {
        row.querySelectorAll("td")[column].classList.toggle("fl-best", values[at] === best && best > -Infinity);
      }
    }
  }
}

function makeRow(/** @type {string} */ title, /** @type {string} */ state) {
  return make("tr", {}, make("th", { scope: "row" }, title), make("td", { colspan: KEYS.length, class: "fl-soft" }, state));
}

const written = (/** @type {string} */ key, /** @type {number | null} */ value) =>
  value === null ? "–" : value.toFixed(WORDS.scores[key].decimals);
