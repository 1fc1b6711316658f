/**
 * What can be done by a key or a button, and its keys: the one table that the keyboard and the toolbar read.
 *
 * A key is written as `keyOf` gives it: "mod" is Control, or Command on a Mac. `hold` commands end when the key is let
 * go. `global` ones also work where the focus is elsewhere on the page, outside of text fields; single letters do not,
 * as those who speak to their computer would set them off.
 *
 * @typedef {{
 *   title: string, keys: string[], global?: boolean, hold?: boolean, repeat?: boolean,
 *   run: (canvas: import("./maskcanvas.js").MaskCanvas) => unknown,
 *   release?: (canvas: import("./maskcanvas.js").MaskCanvas) => unknown,
 * }} Command
 */

/** How far one press grows or shrinks the mask, in photo pixels. */
const GROW_STEP = 4;

/** @type {Record<string, Command>} */
export const COMMANDS = {
  brush: { title: "Brush", keys: ["b"], run: (canvas) => canvas.setTool("brush") },
  eraser: { title: "Eraser", keys: ["e"], run: (canvas) => canvas.setTool("eraser") },
  rectangle: { title: "Rectangle", keys: ["r"], run: (canvas) => canvas.setTool("rectangle") },
  lasso: { title: "Lasso", keys: ["l"], run: (canvas) => canvas.setTool("lasso") },
  smaller: { title: "Smaller brush", keys: ["["], repeat: true, run: (canvas) => canvas.painter.stepBrush(-1) },
  larger: { title: "Larger brush", keys: ["]"], repeat: true, run: (canvas) => canvas.painter.stepBrush(1) },
  undo: { title: "Undo", keys: ["mod+z"], global: true, repeat: true, run: (canvas) => canvas.undo() },
  redo: {
    title: "Redo",
    keys: ["mod+shift+z", "mod+y"],
    global: true,
    repeat: true,
    run: (canvas) => canvas.redo(),
  },
  invert: { title: "Invert", keys: ["i"], run: (canvas) => canvas.invert() },
  grow: { title: "Grow", keys: ["g"], repeat: true, run: (canvas) => canvas.grow(GROW_STEP) },
  shrink: { title: "Shrink", keys: ["shift+g"], repeat: true, run: (canvas) => canvas.shrink(GROW_STEP) },
  clear: { title: "Clear", keys: ["delete", "backspace"], run: (canvas) => canvas.clear() },
  zoomIn: { title: "Zoom in", keys: ["+", "="], repeat: true, run: (canvas) => canvas.zoomBy(1.25) },
  zoomOut: { title: "Zoom out", keys: ["-"], repeat: true, run: (canvas) => canvas.zoomBy(0.8) },
  fit: { title: "Fit", keys: ["0"], run: (canvas) => canvas.fit() },
  actualSize: { title: "100 %", keys: ["1"], run: (canvas) => canvas.actualSize() },
  compare: {
    title: "Compare",
    keys: ["c"],
    hold: true,
    run: (canvas) => canvas.setComparing(true),
    release: (canvas) => canvas.setComparing(false),
  },
  copy: { title: "Copy picture", keys: ["mod+c"], run: (canvas) => canvas.copyPicture() },
  fill: { title: "Fill", keys: ["enter", "shift+enter"], run: (canvas) => canvas.requestFill() },
  cancel: { title: "Cancel", keys: ["escape"], run: (canvas) => canvas.cancel() },
};

const mac = /Mac|iP(hone|ad|od)/.test(navigator.platform);

/** The key that an event stands for, such as "mod+shift+z", "[" or "enter". */
export function keyOf(/** @type {KeyboardEvent} */ event) {
  // Where AltGr writes a character, it is that character and no shortcut.
  const written = event.getModifierState("AltGraph");
  let key = event.key.length === 1 || event.key === "Dead" ? event.key : event.key.toLowerCase();
  // On keyboards for other alphabets, the place of a letter or bracket on the keyboard decides.
  const letter = /^Key([A-Z])$/.exec(event.code);
  const bracket = { BracketLeft: "[", BracketRight: "]" }[event.code];
  if (letter && !/^[a-z]$/i.test(key)) key = letter[1];
  if (bracket && !/^[\x21-\x7e]$/.test(key)) key = bracket;
  const shifted = event.shiftKey && (/^[a-z]$/i.test(key) || key.length > 1);
  const modifiers = [
    (mac ? event.metaKey || event.ctrlKey : event.ctrlKey) && !written && "mod",
    event.altKey && !written && "alt",
    shifted && "shift",
  ];
  return [...modifiers.filter(Boolean), key.toLowerCase()].join("+");
}

const COMMAND_OF = new Map(Object.values(COMMANDS).flatMap((command) => command.keys.map((key) => [key, command])));

/** The command that a key calls, if any. */
export function commandFor(/** @type {string} */ key) {
  return COMMAND_OF.get(key) ?? null;
}

/** A key as people write it: "Ctrl+Shift+Z". */
export function writeKey(/** @type {string} */ key) {
  const names = { mod: mac ? "⌘" : "Ctrl", delete: "Del", escape: "Esc", "-": "−" };
  return key
    .split("+")
    .map((part) => names[part] ?? (part ? part[0].toUpperCase() + part.slice(1) : "+"))
    .join(key === "+" ? "" : "+")
    .replace("++", "+");
}
