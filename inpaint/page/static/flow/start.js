/** What is seen while no photo is open: a button to open one, and examples. */

import { exampleURL } from "./api.js";
import { button, fileButton, make } from "./elements.js";
import { WORDS } from "./words.js";

/**
 * @param {{file: string, title: string}[]} examples
 * @param {{open: (file: File) => void, openExample: (name: string) => void}} doing
 */
export function makeStart(examples, { open, openExample }) {
  const pictures = examples.map(({ file, title }) => {
    const image = make("img", { src: exampleURL(file), alt: "", width: 104, height: 78 });
    const tile = button("", () => openExample(file), { class: "fl-example" });
    tile.append(image, make("span", {}, title));
    return tile;
  });
  const start = make(
    "div",
    { class: "fl-start" },
    fileButton(WORDS.open, open, { class: "fl-button fl-primary fl-large" }),
    make("p", {}, WORDS.openHint),
  );
  if (pictures.length) {
    start.append(
      make("p", { class: "fl-try" }, WORDS.tryOne),
      make("div", { class: "fl-examples", role: "group", "aria-label": WORDS.tryOne }, ...pictures),
    );
  }
  return start;
}
