/**
 * The two layers that are drawn: the photo, and the mask in one colour over it. Only what the stage shows is drawn,
 * at the screen's resolution, so neither time nor memory depends on the photo's size.
 */

import { widen } from "./box.js";
import { boundsOf } from "./mask.js";

/** From this zoom on a photo's pixels are shown as squares. */
const SQUARES = 4;
/** The mask is drawn at twice the CSS resolution on every screen: coarse ones get smooth rims, fine ones need no more. */
const MASK_RATIO = 2;

/** Draw the part of a picture that the stage shows. */
export function drawPicture(canvas, /** @type {import("./viewport.js").Viewport} */ viewport, picture) {
  const { ratio, scale } = viewport;
  resize(canvas, viewport, ratio);
  const context = canvas.getContext("2d", { alpha: true });
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  const bitmap = picture?.bitmapFor(viewport.zoom);
  if (!bitmap) return;
  const from = viewport.toPhoto({ x: 0, y: 0 });
  const to = viewport.toPhoto({ x: viewport.width, y: viewport.height });
  const x0 = Math.max(0, Math.floor(from.x) - 1);
  const y0 = Math.max(0, Math.floor(from.y) - 1);
  const x1 = Math.min(picture.width, Math.ceil(to.x) + 1);
  const y1 = Math.min(picture.height, Math.ceil(to.y) + 1);
  const [bx, by] = [bitmap.width / picture.width, bitmap.height / picture.height];
  context.setTransform(scale * ratio, 0, 0, scale * ratio, viewport.x * ratio, viewport.y * ratio);
  context.imageSmoothingEnabled = viewport.zoom < SQUARES;
  context.imageSmoothingQuality = "medium";
  context.drawImage(bitmap, x0 * bx, y0 * by, (x1 - x0) * bx, (y1 - y0) * by, x0, y0, x1 - x0, y1 - y0);
}

/**
 * Draw the mask where a box of it has changed, or all that the stage shows.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {import("./viewport.js").Viewport} viewport
 * @param {import("./pyramid.js").Pyramid | null} pyramid
 * @param {number} colour as `colourOf` gives it
 * @param {import("./box.js").Box | null} changed in photo pixels; null for everything
 */
export function drawMask(canvas, viewport, pyramid, colour, changed) {
  const ratio = MASK_RATIO;
  const resized = resize(canvas, viewport, ratio);
  const context = canvas.getContext("2d");
  if (!pyramid) {
    context.clearRect(0, 0, canvas.width, canvas.height);
    return;
  }
  const scale = viewport.scale * ratio;
  const [x, y] = [viewport.x * ratio, viewport.y * ratio];
  const { level, number } = pyramid.levelFor(scale);
  const size = scale * 2 ** number;
  let area = { x0: 0, y0: 0, x1: canvas.width, y1: canvas.height };
  const limit = (box, unit) => {
    const onScreen = (at, origin) => at * unit + origin;
    area = {
      x0: Math.max(area.x0, Math.floor(onScreen(box.x0, x))),
      y0: Math.max(area.y0, Math.floor(onScreen(box.y0, y))),
      x1: Math.min(area.x1, Math.ceil(onScreen(box.x1, x))),
      y1: Math.min(area.y1, Math.ceil(onScreen(box.y1, y))),
    };
  };
  if (changed && !resized) {
    limit(widen(changed, Math.ceil(2 / scale)), scale); // a level's pixel may cover more than what changed
  } else {
    context.clearRect(0, 0, canvas.width, canvas.height);
    const bounds = boundsOf(level);
    if (!bounds) return;
    limit(bounds, size);
  }
  const { x0: left, y0: top, x1: right, y1: bottom } = area;
  if (left >= right || top >= bottom) return;
  const image = new ImageData(right - left, bottom - top);
  const columns = places(left, right, x, size, level.width);
  const rows = places(top, bottom, y, size, level.height);
  paintRows(new Uint32Array(image.data.buffer), level, columns, rows, colour);
  context.putImageData(image, left, top);
}

/** For each screen pixel from `first` to `last`, which pixel of a level lies under its middle; -1 for none. */
function places(first, last, origin, size, count) {
  return Int32Array.from({ length: last - first }, (_, index) => {
    const place = Math.floor((first + index + 0.5 - origin) / size);
    return place < 0 || place >= count ? -1 : place;
  });
}

function paintRows(out, { bits, stride }, columns, rows, colour) {
  const width = columns.length;
  for (let i = 0; i < rows.length; i++) {
    const at = i * width;
    if (rows[i] < 0) continue;
    if (i > 0 && rows[i] === rows[i - 1]) {
      out.copyWithin(at, at - width, at);
      continue;
    }
    const row = rows[i] * stride;
    for (let j = 0; j < width; j++) {
      const column = columns[j];
      if (column >= 0 && (bits[row + (column >> 3)] >> (7 - (column & 7))) & 1) out[at + j] = colour;
    }
  }
}

/** Give a canvas as many pixels as the stage has; whether that changed anything. */
function resize(canvas, viewport, ratio) {
  const width = Math.round(viewport.width * ratio);
  const height = Math.round(viewport.height * ratio);
  if (canvas.width === width && canvas.height === height) return false;
  canvas.width = width;
  canvas.height = height;
  return true;
}

/** A CSS colour as the four bytes of a pixel. */
export function colourOf(/** @type {string} */ css) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = css;
  context.fillRect(0, 0, 1, 1);
  return new Uint32Array(context.getImageData(0, 0, 1, 1).data.buffer)[0];
}
