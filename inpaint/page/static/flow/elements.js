/** Making elements. */

/** An element with attributes (functions are listeners) and children. */
export function make(/** @type {string} */ tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/** A button that keeps the focus while it cannot be pressed. */
export function button(/** @type {string} */ text, /** @type {() => void} */ press, attributes = {}) {
  return make("button", { type: "button", class: "fl-button", click: (event) => {
    if (event.currentTarget.getAttribute("aria-disabled") !== "true") press();
  }, ...attributes }, text);
}

export const setEnabled = (/** @type {HTMLElement} */ element, /** @type {boolean} */ enabled) =>
  element.setAttribute("aria-disabled", String(!enabled));

/** A button that lets a file be chosen. */
export function fileButton(/** @type {string} */ text, /** @type {(file: File) => void} */ take, attributes = {}) {
  const input = make("input", {
    type: "file",
    accept: "image/*,.tif,.tiff",
    hidden: true,
    change: () => {
      if (input.files.length) take(input.files[0]);
      input.value = "";
    },
  });
  return make("span", { class: "fl-file" }, button(text, () => input.click(), attributes), input);
}
