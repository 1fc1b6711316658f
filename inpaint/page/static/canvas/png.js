/**
 * 1-bit greyscale PNGs. A canvas can only write 8 bits a channel, four channels, and would need the whole mask
 * as 4 bytes a pixel for it.
 */

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

/** The remainders of CRC-32 for each byte. */
const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

/** @param {Uint8Array[]} parts */
function crc32(parts) {
  let crc = 0xffffffff;
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) crc = CRC[(crc ^ part[i]) & 0xff] ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

/** Four bytes, the highest first. */
function big32(/** @type {number} */ value) {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** A chunk: length, name, data, checksum of name and data. */
function chunk(/** @type {string} */ name, /** @type {Uint8Array[]} */ data) {
  const named = [new TextEncoder().encode(name), ...data];
  const length = data.reduce((sum, part) => sum + part.length, 0);
  return [big32(length), ...named, big32(crc32(named))];
}

/** The rows one after another, each behind its filter byte (0: not filtered), some hundred at a time. */
function* filteredRows(bits, stride, height) {
  const ROWS = 256;
  for (let top = 0; top < height; top += ROWS) {
    const rows = Math.min(ROWS, height - top);
    const block = new Uint8Array(rows * (stride + 1));
    for (let y = 0; y < rows; y++) {
      const row = (top + y) * stride;
      block.set(bits.subarray(row, row + stride), y * (stride + 1) + 1);
    }
    yield block;
  }
}

/** What zlib makes of blocks of bytes. */
async function deflate(/** @type {Iterable<Uint8Array>} */ blocks) {
  const stream = new CompressionStream("deflate"); // with zlib's header, as PNG wants it
  const writer = stream.writable.getWriter();
  const writing = (async () => {
    for (const block of blocks) await writer.write(block);
    await writer.close();
  })();
  const parts = [];
  const reader = stream.readable.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) parts.push(part.value);
  await writing;
  return parts;
}

/**
 * Encode a mask as a 1-bit greyscale PNG.
 *
 * @param {Uint8Array} bits rows padded to bytes, the leftmost pixel in the highest bit
 * @param {number} width @param {number} height
 * @returns {Promise<Blob>}
 */
export async function encodeBilevel(bits, width, height) {
  // Painting may go on while this is compressed.
  const data = await deflate(filteredRows(bits.slice(), (width + 7) >> 3, height));
  const header = [big32(width), big32(height), Uint8Array.of(1, 0, 0, 0, 0)];
  const parts = [SIGNATURE, ...chunk("IHDR", header), ...chunk("IDAT", data), ...chunk("IEND", [])];
  return new Blob(parts, { type: "image/png" });
}
