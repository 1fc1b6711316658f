/** The canvas: a photo, the mask painted over it, and everything a page needs to know of both. See README.md. */
import { CanvasError, decode, readMask } from "./decoding.js";
import { Editor } from "./editor.js";
import { copyToClipboard, FileDoor } from "./files.js";
import { Keyboard } from "./keyboard.js";
import { grow, MAX_GROW, shrink } from "./morphology.js";
import { Painter } from "./painter.js";
import { PointerInput } from "./pointer.js";
import { Sight } from "./sight.js";
import { restore, snapshot } from "./snapshot.js";
import { View } from "./view.js";
import { WORDS } from "./words.js";

const DEFAULTS = { brush: 40, historyBytes: 256 * 2 ** 20, maxPixels: 64e6, words: {} };

let photos = 0;

export class MaskCanvas extends EventTarget {
  /** @param {HTMLElement} element @param {Partial<typeof DEFAULTS>} options */
  constructor(element, options = {}) {
    super();
    this.options = { ...DEFAULTS, ...options };
    this.words = { ...WORDS, ...this.options.words };
    this.isLocked = false;
    /** @type {string | null} */
    this.id = null;
    this.name = "";
    this.view = new View(element, this.words);
    this.editor = new Editor(this.options);
    this.editor.onmask = (box) => this.view.drawMask(box);
    this.sight = new Sight(this);
    this.editor.onpicture = () => this.sight.drawState();
    this.painter = new Painter(this, this.options.brush);
    this.pointer = new PointerInput(this);
    this.keyboard = new Keyboard(this, this.pointer);
    this.files = new FileDoor(this);
  }

  destroy() {
    this.keyboard.destroy();
    this.files.destroy();
    this.view.destroy();
  }

  emit(name, detail = {}) {
    return this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Say something to those who do not see, and to the page. */
  say(text) {
    clearTimeout(this.keyboard?.saying);
    this.view.say(text);
    this.emit("status", { text });
  }

  /** Tell the user of something that cannot be done. */
  complain(/** @type {string | Error} */ fault) {
    const error = fault instanceof Error ? fault : new CanvasError(fault);
    this.view.say(error.message);
    this.emit("message", { kind: "error", text: error.message });
    return error;
  }

  // The photo and its fills

  get isOpen() {
    return this.editor.photo !== null;
  }
  get mask() {
    return this.editor.mask;
  }
  get photo() {
    return this.editor.photo;
  }
  get picture() {
    return this.editor.picture;
  }

  /** Decode a picture, or tell the user why not. */
  async decode(source, name) {
    try {
      return await decode(source, { name, words: this.words, maxPixels: this.options.maxPixels });
    } catch (error) {
      throw this.complain(error);
    }
  }

  /**
   * Open a photo. The mask, the fills and the steps of the one before are gone.
   *
   * @param {Blob | ImageBitmap} source
   * @param {{id?: string, name?: string}} options
   * @returns {Promise<boolean>} false where another photo was opened meanwhile
   */
  async openPhoto(source, { id = `photo-${++photos}`, name = source.name ?? "" } = {}) {
    const ticket = (this.opening = Symbol(id));
    const picture = await this.decode(source, name);
    if (ticket !== this.opening) return false;
    this.painter.cancel({ quiet: true });
    Object.assign(this, { id, name });
    this.editor.open(picture);
    this.view.open(picture, this.editor.pyramid);
    this.keyboard.hideCursor();
    this.sight.open();
    this.emit("open", { id, name, width: picture.width, height: picture.height });
    this.changed("open", this.words.opened(picture.width, picture.height));
    return true;
  }

  /**
   * Make a fill the picture: nothing is painted on it, and undo goes back to what was filled.
   *
   * @param {Blob | ImageBitmap} source of the photo's size
   * @param {{id?: string}} options the photo that it belongs to
   * @returns {Promise<boolean>} false where another photo is open by now
   */
  async showFill(source, { id = this.id } = {}) {
    if (id !== this.id) return false;
    const fill = await this.decode(source, "");
    if (id !== this.id) return false;
    if (fill.width !== this.photo.width || fill.height !== this.photo.height) {
      throw this.complain(this.words.fillSize(fill, this.photo));
    }
    fill.blob ??= await fill.toBlob();
    this.painter.cancel({ quiet: true });
    this.editor.showFill(fill);
    await this.editor.ready;
    this.changed("fill", this.words.filled);
    return true;
  }

  /** What is needed to go on later: see draft.js. */
  snapshot() {
    return snapshot(this);
  }

  /** Go on with a snapshot. */
  restore(draft) {
    return restore(this, draft);
  }

  // Steps

  get canUndo() {
    return this.isOpen && !this.isLocked && this.editor.history.canUndo;
  }
  get canRedo() {
    return this.isOpen && !this.isLocked && this.editor.history.canRedo;
  }

  undo() {
    return this.travel("undo", this.words.undone, this.words.nothingToUndo);
  }

  redo() {
    return this.travel("redo", this.words.redone, this.words.nothingToRedo);
  }

  /** Go a step back or forth; whether there was one. The promise waits until its picture is drawn. */
  async travel(way, told, nothing) {
    if (this.isStroking || !this.isFree()) return false;
    const step = this.editor.history[way]();
    if (!step) {
      this.say(nothing);
      return false;
    }
    this.changed(way, `${told(this.words.steps[step.name])}; ${this.words.share(this.mask.share())}`);
    await this.editor.ready;
    return true;
  }

  /** Change the mask as one step. */
  edit(name, /** @type {(mask: import("./mask.js").Mask) => void} */ change) {
    if (!this.isFree()) return false;
    this.painter.end();
    change(this.mask);
    if (!this.editor.commit(name)) return false;
    this.changed(name, this.words.share(this.mask.share()));
    return true;
  }

  clear() {
    return this.edit("clear", (mask) => mask.fillBox(mask.box, 0));
  }
  invert() {
    return this.edit("invert", (mask) => mask.invert());
  }
  grow(pixels) {
    return this.edit("grow", (mask) => grow(mask, Math.min(MAX_GROW, pixels)));
  }
  shrink(pixels) {
    return this.edit("shrink", (mask) => shrink(mask, Math.min(MAX_GROW, pixels)));
  }

  /** Add a mask file of the photo's size to what is painted (white = fill). */
  async addMask(/** @type {Blob} */ blob) {
    if (!this.isOpen) throw this.complain(this.words.noPhoto);
    const { id } = this;
    const mask = await readMask(blob).catch(() => {
      throw this.complain(this.words.unreadable(blob.name));
    });
    if (id !== this.id) return false;
    if (mask.width !== this.photo.width || mask.height !== this.photo.height) {
      throw this.complain(this.words.maskSize(mask, this.photo));
    }
    return this.edit("load", (own) => own.add(mask.bits));
  }

  changed(reason, text) {
    this.say(text);
    this.sight.drawState();
    this.emit("change", { reason });
  }

  // Painting: see painter.js

  get tool() {
    return this.painter.tool;
  }
  get brush() {
    return this.painter.brush;
  }
  get isStroking() {
    return this.painter.stroke !== null;
  }
  setTool(/** @type {string} */ name) {
    this.painter.setTool(name);
  }
  setBrush(/** @type {number} */ pixels) {
    this.painter.setBrush(pixels);
  }

  /** Escape: cancel the stroke, or ask the page to cancel what it does. */
  cancel() {
    if (!this.painter.cancel()) this.emit("cancel");
  }

  /** Ask the page for a fill. */
  requestFill() {
    this.painter.end();
    if (this.isFree()) this.emit("fill", { id: this.id });
  }

  /** Whether the mask may be changed now. */
  isFree() {
    if (this.isLocked) this.say(this.words.locked);
    return this.isOpen && !this.isLocked;
  }

  /** Let nothing be painted, taken back or filled while the page works on the picture. */
  setLocked(/** @type {boolean} */ locked) {
    if (locked) this.painter.end();
    this.isLocked = locked;
    this.view.stage.classList.toggle("mc-locked", locked);
    this.emit("change", { reason: "lock" });
  }

  // Seeing

  fit() {
    this.sight.zoom((viewport) => viewport.fit());
  }
  actualSize() {
    this.sight.zoom((viewport) => viewport.actualSize(this.sight.pointer ?? undefined));
  }
  zoomBy(/** @type {number} */ factor) {
    this.sight.zoom((viewport) => viewport.zoomTo(viewport.scale * factor));
  }

  get isComparing() {
    return this.sight.isComparing;
  }
  /** Show the photo as it was opened, without the mask, or the picture again. */
  setComparing(/** @type {boolean} */ comparing) {
    this.sight.compare(comparing);
  }

  /** Copy the picture that is shown to the clipboard, as PNG. */
  async copyPicture() {
    try {
      await copyToClipboard(this.isComparing ? this.photo : this.picture);
      this.say(this.words.copied);
      return true;
    } catch {
      this.complain(this.words.cannotCopy);
      return false;
    }
  }

  /** Let the keys also work in another element, such as a toolbar. */
  addKeyArea(/** @type {HTMLElement} */ element) {
    this.keyboard.areas.push(element);
  }

  /** Let the keys work. The keyboard's cursor is not seen until a key moves it. */
  focus() {
    this.pointer.focus();
  }
}
