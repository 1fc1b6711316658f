/** The canvas's public names. */

export { COMMANDS } from "./commands.js";
export { CanvasError } from "./decoding.js";
export { Draft } from "./draft.js";
export { MaskCanvas } from "./maskcanvas.js";
export { Toolbar } from "./toolbar.js";
