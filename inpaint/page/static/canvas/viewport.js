/**
 * Where the photo lies on the screen: its scale and the place of its top left corner, in CSS pixels from the
 * stage's. Knows nothing of the page.
 */

/** The most that a photo is enlarged: CSS pixels for one of its own. */
const MAX_SCALE = 32;
/** How far a photo's rim may be drawn into the stage, so that one can paint over it at ease. */
const OVERSCROLL = 48;

export class Viewport {
  constructor() {
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.width = 1;
    this.height = 1;
    this.photoWidth = 1;
    this.photoHeight = 1;
    /** Device pixels in a CSS pixel. */
    this.ratio = 1;
    /** Whether the photo shall go on filling the stage when its size changes. */
    this.fitted = true;
  }

  /** The scale at which the whole photo is seen. A small photo is enlarged to four times at most. */
  get fitScale() {
    return Math.min(this.width / this.photoWidth, this.height / this.photoHeight, 4);
  }

  /** Screen pixels for one of the photo: 1 at 100 %. */
  get zoom() {
    return this.scale * this.ratio;
  }

  setPhoto(width, height) {
    this.photoWidth = width;
    this.photoHeight = height;
    this.fit();
  }

  /** Take the stage's new size; the middle of what is seen stays in the middle. */
  resize(width, height, ratio) {
    const middle = this.toPhoto({ x: this.width / 2, y: this.height / 2 });
    Object.assign(this, { width: Math.max(1, width), height: Math.max(1, height), ratio });
    if (this.fitted) return this.fit();
    this.x = this.width / 2 - middle.x * this.scale;
    this.y = this.height / 2 - middle.y * this.scale;
    return this.settle();
  }

  /** See the whole photo. */
  fit() {
    this.scale = this.fitScale;
    this.settle();
    this.fitted = true;
  }

  /** One pixel of the photo for one of the screen, around the middle or a place. */
  actualSize(place = this.middle) {
    this.zoomTo(1 / this.ratio, place);
  }

  get middle() {
    return { x: this.width / 2, y: this.height / 2 };
  }

  /** Zoom so that what lies at a place stays there. */
  zoomTo(scale, place = this.middle) {
    this.hold(this.toPhoto(place), place, scale);
  }

  /** Zoom and move so that a point of the photo lies at a place, as far as the rims allow. */
  hold(point, place, scale) {
    const least = Math.min(this.fitScale, 1 / this.ratio);
    this.scale = Math.min(MAX_SCALE, Math.max(least, scale));
    this.x = place.x - point.x * this.scale;
    this.y = place.y - point.y * this.scale;
    this.settle();
    this.fitted = Math.abs(this.scale / this.fitScale - 1) < 1e-3;
  }

  panBy(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.settle();
  }

  /** Move the photo as little as makes a point of it lie within the stage, with a margin. */
  reveal(point, margin) {
    const { x, y } = this.toScreen(point);
    const into = (at, size) => Math.max(0, margin - at) || Math.min(0, size - margin - at);
    this.panBy(into(x, this.width), into(y, this.height));
  }

  /** Keep the photo in the stage: in the middle where it is smaller, over its whole width where it is larger. */
  settle() {
    const settled = (at, size, room) => {
      if (size <= room) return (room - size) / 2;
      return Math.min(OVERSCROLL, Math.max(room - size - OVERSCROLL, at));
    };
    this.x = settled(this.x, this.photoWidth * this.scale, this.width);
    this.y = settled(this.y, this.photoHeight * this.scale, this.height);
  }

  toPhoto({ x, y }) {
    return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
  }

  toScreen({ x, y }) {
    return { x: x * this.scale + this.x, y: y * this.scale + this.y };
  }
}
