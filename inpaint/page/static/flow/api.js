/** The server's REST API, as the page uses it. */

import { WORDS } from "./words.js";

/** Found from where this file lies, so that it holds under any path that a proxy shows the page at. */
const ROOT = new URL("../../", import.meta.url);
const JOBS = new URL("api/v1/jobs", ROOT);
const RETRY_MS = 1500;

/** The server said no, or nothing; the message is a sentence for the user. */
export class ServerError extends Error {}

/** The job was taken back. */
export class Cancelled extends Error {}

/** Ask the server. @returns {Promise<Response>} one that went well */
async function ask(/** @type {URL} */ url, /** @type {RequestInit} */ options = {}) {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(WORDS.unreachable);
  }
  if (!answer.ok) throw new ServerError(reasonOf(answer.status, await answer.text()));
  return answer;
}

function reasonOf(/** @type {number} */ status, /** @type {string} */ text) {
  try {
    const { detail } = JSON.parse(text);
    if (typeof detail === "string") return detail;
  } catch {
    // a proxy's page
  }
  return WORDS.refused(status);
}

function formOf(/** @type {Record<string, string | Blob>} */ fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Blob) form.append(name, value, name);
    else form.append(name, value);
  }
  return form;
}

/** The models: name, title, description, default. */
export async function listModels() {
  return (await (await ask(new URL("api/v1/models", ROOT))).json()).models;
}

/** A photo that no browser opens, as a PNG. */
export async function convert(/** @type {Blob} */ photo) {
  return (await ask(new URL("page/show", ROOT), { method: "POST", body: formOf({ photo }) })).blob();
}

/** The finished picture as a file like the photo was, and that file's suffix. */
export async function writeLike(/** @type {Blob} */ photo, /** @type {Blob} */ fill) {
  const answer = await ask(new URL("page/save", ROOT), { method: "POST", body: formOf({ photo, fill }) });
  return { blob: await answer.blob(), suffix: answer.headers.get("X-Suffix") };
}

/** The mask of the object that a rough mask lies on, by its colours and edges. @returns {Promise<Blob>} a PNG */
export async function fitToObject(/** @type {Blob} */ image, /** @type {Blob} */ mask) {
  return (await ask(new URL("api/v1/select", ROOT), { method: "POST", body: formOf({ image, mask }) })).blob();
}

/**
 * Compare methods on what is known under a mask; the answer comes line by line.
 * @param {{photo: Blob, mask: Blob}} files @param {string[]} methods
 * @param {AbortSignal} signal ends it, on the server, too
 */
export async function* compare({ photo, mask }, methods, signal) {
  const body = formOf({ photo, mask });
  for (const method of methods) body.append("method", method);
  const answer = await ask(new URL("page/compare", ROOT), { method: "POST", body, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let parts = [];
  for (;;) {
    let chunk;
    try {
      chunk = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerError(WORDS.unreachable);
    }
    if (chunk.done) return;
    // A line with a picture comes in many chunks; they are joined once.
    const [first, ...rest] = chunk.value.split("\n");
    parts.push(first);
    for (const next of rest) {
      yield JSON.parse(parts.join(""));
      parts = [next];
    }
  }
}

/**
 * Where a pixel of a fill comes from.
 * @param {{photo: Blob, mask: Blob, fill: Blob, settings: {model: string, detail: string, seed: number, grow: number}}} given
 * @returns {Promise<{levels: [string, number, number][], rest: number, patch: [number, number] | null, picture: string}>}
 */
export async function trace({ photo, mask, fill, settings }, /** @type {{x: number, y: number}} */ { x, y }) {
  const { model, detail, seed, grow } = settings;
  const body = formOf({ photo, mask, fill, model, detail });
  for (const [name, value] of Object.entries({ seed, grow, x, y })) body.append(name, String(value));
  return (await ask(new URL("page/trace", ROOT), { method: "POST", body })).json();
}

/** Base64 as a file. */
export async function fromBase64(/** @type {string} */ text, /** @type {string} */ type) {
  return (await fetch(`data:${type};base64,${text}`)).blob();
}

/** An example, as a file. */
export async function fetchExample(/** @type {string} */ name) {
  const blob = await (await ask(exampleURL(name))).blob();
  return new File([blob], name, { type: blob.type });
}

export const exampleURL = (/** @type {string} */ name) => new URL(`page/examples/${encodeURIComponent(name)}`, ROOT);

/** One fill, from sending the photo to having the picture. */
export class Job {
  /**
   * @param {Record<string, string | Blob>} fields of the API's form
   * @param {(status: {state: string, progress?: number, place?: number, seconds_left?: number}) => void} tell
   */
  constructor(fields, tell) {
    this.fields = fields;
    this.tell = tell;
    /** @type {string | null} */
    this.id = null;
    this.isCancelled = false;
    this.isOver = false;
    this.stopped = new Promise((_, reject) => (this.giveUp = () => reject(new Cancelled())));
    this.stopped.catch(() => {});
  }

  get url() {
    return new URL(`${JOBS.href}/${this.id}`);
  }

  /** The picture. Throws `Cancelled` or `ServerError`. @returns {Promise<Blob>} */
  async run() {
    try {
      return await Promise.race([this.work(), this.stopped]);
    } finally {
      this.isOver = true;
    }
  }

  async work() {
    const { id } = JSON.parse(await this.send());
    this.id = id;
    if (this.isCancelled) return this.remove();
    const last = await this.follow();
    if (last.state === "cancelled") throw this.isCancelled ? new Cancelled() : new ServerError(WORDS.ended);
    if (last.state !== "done") throw new ServerError(last.detail ?? WORDS.refused(last.state));
    this.tell({ state: "fetching" });
    const blob = await (await ask(new URL(`${this.url.href}/result`))).blob();
    this.remove();
    return blob;
  }

  /** Take it back; the server stops computing. */
  cancel() {
    if (this.isCancelled || this.isOver) return;
    this.isCancelled = true;
    // Once all is sent, the answer with the job's id is waited for, so that the job can be ended.
    if (!this.isSent) this.request?.abort();
    this.source?.close();
    if (this.id) this.remove();
    this.giveUp();
  }

  /** Ask the server to end the job and to forget its result; this also works while the page is being closed. */
  remove() {
    fetch(this.url, { method: "DELETE", keepalive: true }).catch(() => {});
  }

  /** Send the photo, and say how much of it has been sent. @returns {Promise<string>} the answer */
  send() {
    return new Promise((resolve, reject) => {
      const request = (this.request = new XMLHttpRequest());
      request.open("POST", JOBS);
      request.upload.onprogress = ({ loaded, total }) => this.tell({ state: "sending", progress: loaded / total });
      request.upload.onload = () => {
        this.isSent = true;
        this.tell({ state: "checking" });
      };
      request.onload = () => {
        if (request.status === 202) resolve(request.responseText);
        else reject(new ServerError(reasonOf(request.status, request.responseText)));
      };
      request.onerror = () => reject(new ServerError(WORDS.unreachable));
      request.onabort = () => reject(new Cancelled());
      request.send(formOf(this.fields));
    });
  }

  /** Follow the job to its end. @returns {Promise<{state: string, detail?: string}>} its last status */
  follow() {
    return new Promise((resolve, reject) => {
      const connect = () => {
        if (this.isCancelled) return;
        const source = (this.source = new EventSource(`${this.url.href}/events`));
        source.addEventListener("status", (event) => {
          const status = JSON.parse(event.data);
          if (["done", "failed", "cancelled"].includes(status.state)) {
            source.close();
            resolve(status);
          } else this.tell(status);
        });
        source.addEventListener("error", async () => {
          if (this.isCancelled) return;
          this.tell({ state: "offline" });
          if (source.readyState !== EventSource.CLOSED) return; // it connects again by itself
          try {
            await ask(this.url); // a job that is known: only the stream was refused
            setTimeout(connect, RETRY_MS);
          } catch (error) {
            reject(error);
          }
        });
      };
      connect();
    });
  }
}
