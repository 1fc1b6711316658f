/** All sentences of the tabs. */

/** A duration in words. */
export function duration(/** @type {number} */ seconds) {
  if (seconds < 1.5) return "1 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}

/** A size of a file. */
const megabytes = (/** @type {number} */ bytes) => `${Math.round(bytes / 1e6)} MB`;

export const WORDS = {
  open: "Open a photo",
  openHint: "or drop one here, or paste one",
  tryOne: "Or try one of these",
  fill: "Fill",
  another: "Another fill",
  fitMask: "Fit the mask to the object",
  fitMaskHint: "Finds what a rough stroke lies on by colours and edges (GrabCut). Check it before you fill.",
  fitting: "Looking for the object …",
  stop: "Stop",
  fills: "Fills of this photo",
  fillNumber: (number) => `Fill ${number}`,
  fillFacts: ({ title, grow, detail, seed }) =>
    [title, grow ? `mask grown by ${grow} px` : "", detail === "none" ? "without texture" : `seed ${seed}`]
      .filter(Boolean)
      .join(" · "),
  restoredFill: "restored",
  download: (format) => `Download ${format}`,
  png: "PNG, exact pixels",
  mask: "Mask",
  settings: "How to fill",
  model: "Model",
  grow: "Grow the mask",
  growBy: (pixels) => `${pixels} px`,
  growHint: "Objects have soft edges: fill a few pixels around the mask, too, and no rim is left.",
  texture: "Lay the photo's own texture over the fill",
  textureHint: "Without it the fill is the network's alone: smoother, and there is only one.",
  fillAtOnce: "Fill as soon as a stroke ends",
  fillAtOnceHint: "Brush, rectangle and lasso then need no button. Escape stops a fill.",
  size: (width, height) => `${width} × ${height}`,
  reading: "Reading the photo …",
  sending: (share) => `Sending the photo: ${Math.round(100 * share)} %`,
  checking: "The server reads the photo …",
  waiting: (place, seconds) => `Place ${place} in the queue, done in about ${duration(seconds)}`,
  filling: (seconds) => `Filling, about ${duration(seconds)} left`,
  fetching: "Fetching the picture …",
  offline: "The server does not answer; trying again …",
  started: "filling; Escape stops it",
  stopped: "Stopped. Nothing was changed.",
  stoppedForOther: "The fill of the photo before was stopped.",
  writing: "Writing the file …",
  restored: "Your photo and strokes were restored.",
  discard: "Start over",
  close: "Close",
  // The Batch tab
  batchHint:
    "Fill several photos, each with a mask of its size: white is filled. A mask belongs to the photo of its name, " +
    "such as beach.png or beach-mask.png to beach.jpg; a single mask is taken for all photos. Model and texture are " +
    "those of the Fill tab; masks are not grown.",
  batchPhotos: "Photos",
  batchMasks: "Masks",
  batchStart: "Fill all",
  batchSave: "Download all as ZIP",
  batchWaits: "waits",
  batchStopped: "stopped",
  batchNoMask: "There is no mask of this name.",
  batchAt: (number, count) => `Photo ${number} of ${count} …`,
  batchDone: (filled, count) => `${filled} of ${count} photos filled.`,
  batchFilled: (name) => `filled: ${name}`,
  // The Evaluate tab
  evaluateHint:
    "Scores methods on what you painted on the Fill tab, against what is under the paint: open a clean photo and paint " +
    "where nothing has to go. No method sees what is there. Photos of more than 2048 pixels a side are made smaller " +
    "first; masks are not grown.",
  evaluateMethods: "Methods",
  evaluateStart: "Compare",
  evaluateTable: "Download the table (CSV)",
  evaluateSheet: "Download the sheet (PNG)",
  evaluatePicture: "Download this picture",
  evaluatePaint: "Open a clean photo on the Fill tab and paint a hole there, then compare here.",
  evaluateChoose: "Choose at least one method.",
  evaluateAt: (number, count) => `Method ${number} of ${count} …`,
  evaluateDone: (count, share, width, height) =>
    `${count} ${count === 1 ? "method" : "methods"} compared. ` +
    `The hole is ${(100 * share).toFixed(1)} % of ${width} × ${height} pixels. The best of each column is bold.`,
  evaluateEnded: "The server ended the comparison, as it is being stopped or restarted; try again.",
  evaluateNone: "No method filled it.",
  evaluateWaits: "waits",
  evaluateQueued: (place) => `place ${place} in the queue`,
  evaluateRunning: (share) => (share ? `fills: ${Math.round(100 * share)} %` : "fills …"),
  evaluateScores: "Scores",
  evaluatePictures: "Pictures",
  evaluateMethod: "Method",
  evaluateCloser: "Show the hole's surroundings only",
  evaluateHole: "Hole",
  evaluateTruth: "Truth",
  evaluateMeaning: "What the scores mean",
  /** The scores that are shown: title, decimals, which value is the best, and what it tells. */
  scores: {
    psnr_hole: {
      title: "PSNR in the hole, dB",
      decimals: 2,
      better: (value) => value,
      meaning:
        "How near the fill's pixels are to the true ones; more is better, and 1 dB is a fifth less squared error. A blurred fill " +
        "can score well: read it beside Detail.",
    },
    psnr: {
      title: "PSNR, whole, dB",
      decimals: 2,
      better: (value) => value,
      meaning: "The same over the whole photo, as papers give it. The smaller the hole, the higher it is.",
    },
    ssim: {
      title: "SSIM",
      decimals: 4,
      better: (value) => value,
      meaning: "Likeness of local structure over the whole photo; 1 is the truth itself.",
    },
    l1_hole: {
      title: "L1 in the hole, %",
      decimals: 2,
      better: (value) => -value,
      meaning: "Mean difference of the pixels' values, of their full range; less is better.",
    },
    detail: {
      title: "Detail",
      decimals: 2,
      better: (value) => -Math.abs(value - 1),
      meaning: "Fine structure in the hole over the truth's: 1 is right, less is blurred, more is too busy.",
    },
    patch_distance: {
      title: "Patches",
      decimals: 2,
      better: (value) => -value,
      meaning:
        "How unlike the small patches in the hole are to those around it, by texture (sliced Wasserstein distance); " +
        "less is better.",
    },
    seconds: {
      title: "Seconds",
      decimals: 2,
      better: null,
      meaning: "Time to fill on this server; of a model that was not loaded, with loading it.",
    },
  },
  // The Trace tab
  traceHint:
    "Shows where a pixel of the fill comes from. Press on the fill: known pixels light up as far as the network's CARAFE " +
    "kernels gathered them, and a frame marks the patch of the photo that lies over it. The arrow keys move the cross, " +
    "Enter traces.",
  traceFill: "Fill a photo on the Fill tab, then press on the fill here.",
  tracePicture: "The fill; press a pixel to trace it",
  traceWait: "Following the kernels …",
  traceSave: "Download this picture",
  traceAgain: "Show the fill",
  traceLevels: "What the network gathered, by the size at which it looked",
  traceLevel: (name, factor, share) =>
    `${(100 * share).toFixed(1)} % ${factor > 1 ? `at 1/${factor} of the size` : name === "smooth fill" ? "as the smooth fill it began with" : name}`,
  traceRest: (share) => `${(100 * share).toFixed(1)} % from no known pixel`,
  tracePatch: ([x, y]) => `Over it lies the photo's patch around ${x}, ${y}.`,
  traceNoPatch: "No patch of the photo lies over it.",
  /** What the released models do, by name; others have the server's description. */
  models: {
    "pconv-carafe": "For photos of any kind. Its fills come closest to real photos in our tests.",
    "pconv-carafe-sharp": "Crisper edges, for small holes with lines and structure around them.",
  },
  // Refusals
  openFirst: "Open a photo first.",
  paintRoughly: "Paint roughly over the object first.",
  paintFirst: "Paint over what should go, then fill.",
  everything: "Everything is painted over: leave some of the photo to fill from.",
  onlyOne: "Without the photo's own texture there is only one fill. Switch it on to have others.",
  tooHeavy: (size, limit) => `The file has ${megabytes(size)}; this server takes ${megabytes(limit)}. Save a smaller copy.`,
  unreachable: "The server cannot be reached. Is it running? Your strokes are kept; try again.",
  ended: "The server ended the fill, as it is being stopped or restarted. Your strokes are kept; try again.",
  refused: (status) => `The server refused (${status}). Try again.`,
};
