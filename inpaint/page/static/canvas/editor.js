/** A photo with its mask, its fills and its steps. Knows nothing of the screen. */

import { Ledger } from "./difference.js";
import { History } from "./history.js";
import { Mask } from "./mask.js";
import { Pyramid } from "./pyramid.js";

export class Editor {
  /** @param {{historyBytes: number}} options */
  constructor({ historyBytes }) {
    this.history = new History(historyBytes);
    /** @type {import("./picture.js").Picture | null} What was opened. */
    this.photo = null;
    /** @type {import("./picture.js").Picture | null} What is shown: the photo or its last fill. */
    this.picture = null;
    /** @type {Mask | null} */
    this.mask = null;
    /** Told of a box of the mask that changed. */
    this.onmask = (/** @type {import("./box.js").Box} */ _box) => {};
    /** Told of another picture once it can be drawn. */
    this.onpicture = (/** @type {import("./picture.js").Picture} */ _picture) => {};
    /** When the picture can be drawn. */
    this.ready = Promise.resolve();
  }

  get isFilled() {
    return this.picture !== this.photo;
  }

  /** Start with a photo. The steps of the one before are forgotten. */
  open(/** @type {import("./picture.js").Picture} */ photo) {
    for (const { fill } of this.history.steps) fill?.picture.release();
    this.photo?.release();
    this.history.clear();
    this.photo = this.picture = photo;
    this.mask = new Mask(photo.width, photo.height);
    this.ledger = new Ledger(this.mask);
    this.pyramid = new Pyramid(this.mask);
    this.mask.onchange = (box) => {
      this.ledger.note(box);
      this.pyramid.note(box);
      this.onmask(box);
    };
  }

  /** Make what was painted since the last step a step; whether anything was. */
  commit(/** @type {string} */ name) {
    const difference = this.ledger.commit();
    if (!difference) return false;
    const apply = () => this.ledger.apply(difference);
    this.history.push({ name, bytes: difference.packed.length + 100, undo: apply, redo: apply });
    return true;
  }

  /** Forget what was painted since the last step. */
  revert() {
    this.ledger.revert();
  }

  /** Make a fill the picture, with nothing painted on it. */
  showFill(/** @type {import("./picture.js").Picture} */ fill) {
    const before = this.picture;
    const mask = this.mask.toRunLength();
    this.mask.fillBox(this.mask.box, 0);
    const difference = this.ledger.commit();
    const go = (picture) => () => {
      if (difference) this.ledger.apply(difference);
      this.show(picture);
    };
    this.history.push({
      name: "fill",
      bytes: fill.bytes + 8 * mask.runs.length,
      undo: go(before),
      redo: go(fill),
      fill: { picture: fill, mask },
    });
    this.show(fill);
  }

  /** Change to another picture of this photo, which may have to be decoded again. */
  show(/** @type {import("./picture.js").Picture} */ picture) {
    const before = this.picture;
    this.picture = picture;
    this.ready = picture.load().then(() => {
      if (this.picture !== picture) return;
      this.onpicture(picture);
      // The photo stays at hand for comparing.
      if (before !== picture && before !== this.photo) before.release();
    });
  }
}
