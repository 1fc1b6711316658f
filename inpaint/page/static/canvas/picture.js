/**
 * A photo or a fill, and the bitmaps that it is drawn from. A large one is drawn from a smaller copy, which takes
 * 16 MB where a photo of 50 megapixels takes 200; its own pixels are decoded when one zooms in to them, and given
 * up when one zooms out.
 */

/** The longer side of the copy that is drawn. */
const COPY_SIDE = 2048;

export class Picture {
  /** @param {Blob | null} blob @param {ImageBitmap} bitmap which is the picture's from now on */
  constructor(blob, bitmap) {
    this.blob = blob;
    this.width = bitmap.width;
    this.height = bitmap.height;
    /** @type {ImageBitmap | null} */
    this.full = bitmap;
    /** @type {ImageBitmap | null} */
    this.copy = null;
    /** Called when there is a better bitmap to draw. */
    this.onload = () => {};
    this.pending = false;
  }

  /** Decode a picture, upright. @param {Blob | ImageBitmap} source */
  static async open(source) {
    const given = source instanceof ImageBitmap;
    const picture = new Picture(given ? null : source, given ? source : await createImageBitmap(source));
    await picture.makeCopy();
    return picture;
  }

  get isLarge() {
    return Math.max(this.width, this.height) > COPY_SIDE;
  }

  /** The memory that it holds apart from its bitmaps, in bytes. */
  get bytes() {
    return this.blob ? this.blob.size : 4 * this.width * this.height;
  }

  async makeCopy() {
    if (!this.isLarge || this.copy) return;
    const scale = COPY_SIDE / Math.max(this.width, this.height);
    this.copy = await createImageBitmap(this.full, {
      resizeWidth: Math.max(1, Math.round(this.width * scale)),
      resizeHeight: Math.max(1, Math.round(this.height * scale)),
      resizeQuality: "medium",
    });
    this.dropFull();
  }

  /** Decode again what was given up. */
  async load() {
    if (this.full || this.copy) return;
    this.full = await createImageBitmap(this.blob);
    await this.makeCopy();
  }

  /** The best bitmap at hand for a zoom (screen pixels for one of the photo); a better one may be on its way. */
  bitmapFor(zoom) {
    if (!this.isLarge) return this.full;
    const sharp = this.copy !== null && zoom <= (1.1 * this.copy.width) / this.width;
    if (sharp) {
      this.dropFull();
      return this.copy;
    }
    if (!this.full && this.blob && !this.pending) {
      this.pending = true;
      createImageBitmap(this.blob)
        .then((bitmap) => {
          this.full = bitmap;
          this.onload();
        })
        .catch(() => {}) // the copy goes on being drawn
        .finally(() => (this.pending = false));
    }
    return this.full ?? this.copy;
  }

  /** Give up the picture's own pixels where they can be had again. */
  dropFull() {
    if (!this.blob || !this.copy) return;
    this.full?.close();
    this.full = null;
  }

  /** Give up all bitmaps that can be had again; `load` brings them back. */
  release() {
    if (!this.blob) return;
    this.full?.close();
    this.copy?.close();
    this.full = this.copy = null;
  }

  /** The picture as a file of the given type, or as the file that it came from. */
  async toBlob(type = "") {
    if (this.blob && (!type || this.blob.type === type)) return this.blob;
    const bitmap = this.full ?? (await createImageBitmap(this.blob));
    const canvas = new OffscreenCanvas(this.width, this.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    if (bitmap !== this.full) bitmap.close();
    return canvas.convertToBlob({ type: type || "image/png" });
  }
}
