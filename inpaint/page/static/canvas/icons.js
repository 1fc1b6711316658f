/** The toolbar's icons: lines on a grid of 24, in the text's colour. */

const PATHS = {
  brush: "M20 4c-4 2-8 6-10 9l2 2c3-2 7-6 9-10zM9 14c-3 0-3 3-6 5 3 1 8 1 8-3z",
  eraser: "M4 15 13 6a2 2 0 0 1 3 0l4 4a2 2 0 0 1 0 3l-7 7H9l-5-4zM9 10l7 7M7 20h14",
  rectangle: "M4 6h16v12H4z",
  lasso: "M12 4c5 0 9 2.5 9 6s-4 6-9 6-9-2.5-9-6 4-6 9-6zM7 15c-2 1-2 4 0 4s2 1 1 2",
  undo: "M8 5 4 9l4 4M4 9h10a5 5 0 0 1 0 10h-3",
  redo: "M16 5l4 4-4 4M20 9H10a5 5 0 0 0 0 10h3",
  invert: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  grow: "M9 9h6v6H9zM12 5V2M12 22v-3M5 12H2M22 12h-3",
  shrink: "M10 10h4v4h-4zM12 3v4M12 21v-4M3 12h4M21 12h-4",
  clear: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  load: "M12 16V4M8 8l4-4 4 4M4 16v4h16v-4",
  save: "M12 4v12M8 12l4 4 4-4M4 16v4h16v-4",
  mask: "M4 5h16v14H4zM8 15c0-6 3-1 4-4s4-2 4 1-3 1-4 3-4 2-4 0z",
  zoomIn: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5M8 11h6M11 8v6",
  zoomOut: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5M8 11h6",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  compare: "M4 5h16v14H4zM12 3v18M12 8l8 8",
};

/** An icon as an element; those who do not see get the button's own name. */
export function icon(/** @type {keyof typeof PATHS} */ name) {
  const template = document.createElement("template");
  template.innerHTML =
    '<svg class="mc-icon" viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor" ' +
    `stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"><path d="${PATHS[name]}"/></svg>`;
  return template.content.firstChild;
}
