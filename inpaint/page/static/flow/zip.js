/** Several files as one ZIP archive. They are stored as they are: pictures do not get smaller. */

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function checksum(/** @type {Uint8Array} */ bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = (sum >>> 8) ^ TABLE[(sum ^ byte) & 0xff];
  return (sum ^ 0xffffffff) >>> 0;
}

/** Numbers as bytes, the lowest first: [value, count of bytes] each. */
function packed(/** @type {[number, number][]} */ ...fields) {
  return Uint8Array.from(fields.flatMap(([value, count]) => Array.from({ length: count }, (_, at) => (value / 256 ** at) & 0xff)));
}

const UTF8 = 0x0800;
const VERSION = 20;
const DATE = 0x21; // 1980-01-01, the earliest there is: the files tell no time

/**
 * @param {{name: string, blob: Blob}[]} files with different names; 4 GB together at most
 * @returns {Promise<Blob>}
 */
export async function zip(files) {
  const parts = [];
  const entries = [];
  let offset = 0;
  for (const { name, blob } of files) {
    const title = new TextEncoder().encode(name);
    const sum = checksum(new Uint8Array(await blob.arrayBuffer()));
    const { size } = blob;
    const facts = [[VERSION, 2], [UTF8, 2], [0, 2], [0, 2], [DATE, 2], [sum, 4], [size, 4], [size, 4], [title.length, 2], [0, 2]];
    const head = packed([0x04034b50, 4], ...facts);
    parts.push(head, title, blob);
    entries.push(packed([0x02014b50, 4], [VERSION, 2], ...facts, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), title);
    offset += head.length + title.length + size;
  }
  const length = entries.reduce((total, part) => total + part.length, 0);
  const count = files.length;
  const end = packed([0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [length, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...entries, end], { type: "application/zip" });
}
