/** All sentences that the canvas says. The option `words` of a canvas replaces single ones. */

/** A number with at most one decimal. */
const short = (/** @type {number} */ value) => String(Math.round(value * 10) / 10);

export const WORDS = {
  label: "Mask over the photo",
  help:
    "Paint over what is to go. With the keyboard: arrow keys move the cursor, with Shift further, with Control by " +
    "one pixel. Hold Space to paint while you move, or press P to put the brush down and P again to lift it. " +
    "Enter fills, Escape cancels.",
  empty: "Drop a photo here, or paste one",
  before: "Before",
  after: "After",
  size: (pixels) => `${pixels} px`,
  brush: (pixels) => `brush ${pixels} px`,
  tool: (title) => `${title} chosen`,
  opened: (width, height) => `photo of ${width} × ${height} pixels opened`,
  filled: "filled; nothing is painted now",
  share: (share) => {
    if (share === 0) return "nothing is painted";
    if (share < 0.001) return "less than 0.1 % of the photo painted";
    return `${short(share * 100)} % of the photo painted`;
  },
  undone: (what) => `taken back: ${what}`,
  redone: (what) => `done again: ${what}`,
  nothingToUndo: "nothing to take back",
  nothingToRedo: "nothing to do again",
  zoom: (zoom) => `zoom ${Math.round(zoom * 100)} %`,
  cursor: (across, down, painted) =>
    `${Math.round(across * 100)} % from the left, ${Math.round(down * 100)} % from the top, ` +
    (painted ? "painted" : "not painted"),
  penDown: "brush down",
  penUp: "brush up",
  comparing: "the photo before",
  compared: "the picture as it is",
  cancelled: "stroke cancelled",
  locked: "wait until the fill is done",
  copied: "picture copied",
  steps: {
    brush: "stroke",
    eraser: "erasing",
    rectangle: "rectangle",
    lasso: "lasso",
    clear: "clear",
    invert: "invert",
    grow: "grow",
    shrink: "shrink",
    load: "loaded mask",
    fill: "fill",
  },
  // Refusals
  noPhoto: "Open a photo first.",
  heic:
    "This browser cannot open HEIC photos. Save the photo as JPEG first; an iPhone takes JPEGs after " +
    "Settings > Camera > Formats > Most Compatible.",
  unreadable: (name) => `${name ? `“${name}”` : "The file"} is not a photo that this browser can open.`,
  notAPhoto: (name) => `“${name}” is not a photo.`,
  tooLarge: (pixels, limit) =>
    `The photo has ${short(pixels / 1e6)} megapixels; at most ${short(limit / 1e6)} can be opened here.`,
  maskSize: (mask, photo) =>
    `The mask is ${mask.width} × ${mask.height} pixels and the photo ${photo.width} × ${photo.height}. ` +
    "A mask must have the photo's size.",
  fillSize: (fill, photo) =>
    `The fill is ${fill.width} × ${fill.height} pixels and the photo ${photo.width} × ${photo.height}.`,
  cannotCopy: "This browser lets no page copy pictures here; save the picture instead.",
  cannotKeep: "There is no room in this browser to keep the work for later.",
};
