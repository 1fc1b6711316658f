/** Files to pictures and masks, or a sentence that says why not. */

import { Mask } from "./mask.js";
import { Picture } from "./picture.js";

/** A photo, mask or fill that cannot be taken; the message is a sentence for the user. */
export class CanvasError extends Error {}

/** Whether a file is HEIC, which few browsers decode. */
async function isHeic(/** @type {Blob} */ blob) {
  const start = new Uint8Array(await blob.slice(4, 12).arrayBuffer());
  const brand = String.fromCharCode(...start);
  return /^ftyp(hei|hev|mif1|msf1)/.test(brand);
}

/**
 * Decode a photo or a fill, upright.
 *
 * @param {Blob | ImageBitmap} source
 * @param {{name: string, words: typeof import("./words.js").WORDS, maxPixels: number}} options
 */
export async function decode(source, { name, words, maxPixels }) {
  let picture;
  try {
    picture = await Picture.open(source);
  } catch {
    const heic = source instanceof Blob && (await isHeic(source));
    throw new CanvasError(heic ? words.heic : words.unreadable(name));
  }
  const pixels = picture.width * picture.height;
  if (pixels <= maxPixels) return picture;
  picture.release();
  throw new CanvasError(words.tooLarge(pixels, maxPixels));
}

/**
 * Read a mask file: white (luminance above 127) = fill. Fully transparent pixels are not.
 *
 * @param {Blob} blob
 * @returns {Promise<import("./mask.js").Mask>} of the file's own size
 */
export async function readMask(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const mask = new Mask(width, height);
  const ROWS = 256; // four bytes a pixel for some rows at once, not for the whole photo
  const canvas = new OffscreenCanvas(width, Math.min(ROWS, height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += ROWS) {
    const rows = Math.min(ROWS, height - top);
    context.clearRect(0, 0, width, ROWS);
    context.drawImage(bitmap, 0, top, width, rows, 0, 0, width, rows);
    const { data } = context.getImageData(0, 0, width, rows);
    for (let y = 0, at = 0; y < rows; y++) {
      const row = (top + y) * mask.stride;
      for (let x = 0; x < width; x++, at += 4) {
        // Luminance as Pillow computes it, so that the page and the programs read a mask alike.
        const light = (data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471 + 0x8000) >> 16;
        if (light > 127) mask.bits[row + (x >> 3)] |= 0x80 >> (x & 7);
      }
    }
  }
  bitmap.close();
  mask.touch(mask.box);
  return mask;
}
