/** Pictures that come and go by the clipboard or by dropping. */

/** Whether a file says that it is a picture. */
function isPicture(/** @type {File} */ file) {
  return file.type.startsWith("image/") || /\.(hei[cf]|avif|jxl|tiff?)$/i.test(file.name);
}

/** Offer files that are pasted or dropped to the page, as `photofile` events of a canvas. */
export class FileDoor {
  /** @param {import("./maskcanvas.js").MaskCanvas} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.host = canvas.view.host;
    this.stopping = new AbortController();
    const on = (target, name, handler) => target.addEventListener(name, handler, { signal: this.stopping.signal });
    on(document, "paste", (event) => this.paste(event));
    on(this.host, "dragover", (event) => this.over(event, true));
    on(this.host, "dragleave", (event) => this.over(event, false));
    on(this.host, "drop", (event) => this.drop(event));
    // A file that misses the canvas must not replace the page, and the work on it.
    for (const name of ["dragover", "drop"]) on(window, name, (event) => this.guard(event));
  }

  destroy() {
    this.stopping.abort();
  }

  guard(event) {
    if (event.defaultPrevented || !event.dataTransfer?.types.includes("Files")) return;
    if (event.target instanceof Element && event.target.closest("input[type=file]")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
  }

  over(event, inside) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    const left = !inside && !this.host.contains(event.relatedTarget);
    this.host.classList.toggle("mc-dropping", !left);
  }

  drop(event) {
    this.host.classList.remove("mc-dropping");
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    this.offer([...event.dataTransfer.files], "drop");
  }

  paste(event) {
    const files = [...(event.clipboardData?.files ?? [])].filter(isPicture);
    const hidden = this.host.offsetParent === null && getComputedStyle(this.host).position !== "fixed";
    if (event.defaultPrevented || !files.length || hidden) return;
    event.preventDefault();
    this.offer(files, "paste");
  }

  offer(files, via) {
    const pictures = files.filter(isPicture);
    if (pictures.length) this.canvas.emit("photofile", { file: pictures[0], files: pictures, via });
    else this.canvas.complain(this.canvas.words.notAPhoto(files[0].name));
  }
}

/** Put a picture into the clipboard, as PNG: the one type that all browsers take. */
export async function copyToClipboard(/** @type {import("./picture.js").Picture} */ picture) {
  // The promise goes in at once: a browser may forget that a key was pressed while a large photo is encoded.
  await navigator.clipboard.write([new ClipboardItem({ "image/png": picture.toBlob("image/png") })]);
}
