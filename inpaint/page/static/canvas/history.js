/**
 * The steps of one photo, to be taken back and taken again. The oldest are forgotten where all together take too
 * much memory; the newest is always kept.
 *
 * @typedef {{name: string, bytes: number, undo: () => unknown, redo: () => unknown, fill?: object}} Step
 *     what it is called, the memory it holds, and what to call to go back and forth
 */

export class History {
  /** @param {number} limit bytes that the steps may take together */
  constructor(limit) {
    this.limit = limit;
    this.clear();
  }

  clear() {
    /** @type {Step[]} */
    this.steps = [];
    /** How many of them are done; those after it were taken back. */
    this.done = 0;
  }

  get canUndo() {
    return this.done > 0;
  }

  get canRedo() {
    return this.done < this.steps.length;
  }

  /** The memory that all steps hold. */
  get bytes() {
    return this.steps.reduce((sum, step) => sum + step.bytes, 0);
  }

  /** Note a step that was just done; those that were taken back are lost. */
  push(/** @type {Step} */ step) {
    this.steps.length = this.done;
    this.steps.push(step);
    let bytes = this.bytes;
    let oldest = 0;
    while (bytes > this.limit && oldest < this.steps.length - 1) bytes -= this.steps[oldest++].bytes;
    this.steps.splice(0, oldest);
    this.done = this.steps.length;
  }

  /** Take the last step back: that step, or null where there is none. */
  undo() {
    if (!this.canUndo) return null;
    const step = this.steps[--this.done];
    step.undo();
    return step;
  }

  /** Take the step again that was taken back last: that step, or null. */
  redo() {
    if (!this.canRedo) return null;
    const step = this.steps[this.done++];
    step.redo();
    return step;
  }

  /** The steps that are done, oldest first. */
  get present() {
    return this.steps.slice(0, this.done);
  }
}
