/**
 * Masks as run lengths: `{width, height, runs}`.
 *
 * The pixels are read row by row from the top left; `runs` are the lengths of the alternating runs of 0 and 1,
 * starting with 0 (so the first is 0 where the first pixel is to be filled). Their sum is width * height.
 *
 * @typedef {{width: number, height: number, runs: number[]}} RunLength
 */

/** The lengths of a mask's runs. */
export function toRuns(/** @type {import("./mask.js").Mask} */ { bits, stride, width, height }) {
  const runs = [];
  let value = 0;
  let length = 0;
  for (let y = 0; y < height; y++) {
    const row = y * stride;
    for (let x = 0; x < width; ) {
      const byte = bits[row + (x >> 3)];
      // Whole bytes of one value are counted at once.
      if ((x & 7) === 0 && x + 8 <= width && byte === (value ? 0xff : 0)) {
        length += 8;
        x += 8;
        continue;
      }
      const bit = (byte >> (7 - (x & 7))) & 1;
      if (bit !== value) {
        runs.push(length);
        value = bit;
        length = 0;
      }
      length++;
      x++;
    }
  }
  runs.push(length);
  return runs;
}

/**
 * Set the pixels of a mask that a run length says are to be filled; the others stay as they are.
 *
 * @param {import("./mask.js").Mask} mask
 * @param {RunLength} runLength of the mask's size; a RangeError says where it is not
 */
export function addRuns(mask, { width, height, runs }) {
  if (width !== mask.width || height !== mask.height) {
    throw new RangeError(`a mask of ${width} × ${height} for a photo of ${mask.width} × ${mask.height}`);
  }
  if (runs.reduce((sum, run) => sum + run, 0) !== width * height) {
    throw new RangeError(`the runs do not add up to ${width} × ${height} pixels`);
  }
  let at = 0;
  runs.forEach((run, index) => {
    const end = at + run;
    while (index % 2 === 1 && at < end) {
      const y = Math.floor(at / width);
      const x = at - y * width;
      const stop = Math.min(width, x + end - at);
      mask.fillSpan(y, x, stop, 1);
      at += stop - x;
    }
    at = end;
  });
  mask.touch(mask.box);
}
