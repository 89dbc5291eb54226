/** COCO's run lengths: counts down the columns, background first, packed as pycocotools packs them. */

/** @typedef {import("./types.js").Rle} Rle */

/** Numbers of a packed text. @param {string} text @returns {number[]} */
export function unpack(text) {
  /** @type {number[]} */
  const counts = [];
  for (let at = 0; at < text.length; ) {
    let value = 0, shift = 0, bits;
    do {
      bits = text.charCodeAt(at++) - 48;
      value |= (bits & 31) << shift;
      shift += 5;
    } while (bits & 32);
    if (bits & 16) value |= -1 << shift;
    counts.push(counts.length > 2 ? value + counts[counts.length - 2] : value);
  }
  return counts;
}

/** The packed text of numbers. @param {number[]} counts */
export function pack(counts) {
  let text = "";
  for (let k = 0; k < counts.length; k++) {
    let value = k > 2 ? counts[k] - counts[k - 2] : counts[k], more = true;
    while (more) {
      let bits = value & 31;
      value >>= 5;
      more = bits & 16 ? value !== -1 : value !== 0;
      if (more) bits |= 32;
      text += String.fromCharCode(bits + 48);
    }
  }
  return text;
}

/** Where the object is: flat numbers FROM TO FROM TO ..., positions down the columns. @param {Rle} rle @returns {number[]} */
export function intervals(rle) {
  /** @type {number[]} */
  const found = [];
  let at = 0, value = 0;
  for (const count of unpack(rle.counts)) {
    if (value && count) found.push(at, at + count);
    at += count;
    value ^= 1;
  }
  return found;
}

/** A mask from such intervals, in order; those that touch become one. @param {number[]} flat @param {number} height @param {number} width @returns {Rle} */
export function fromIntervals(flat, height, width) {
  /** @type {number[]} */
  const counts = [];
  let end = 0;
  for (let k = 0; k < flat.length; k += 2) {
    const [from, to] = [flat[k], flat[k + 1]];
    if (counts.length && from === end) counts[counts.length - 1] += to - from;
    else counts.push(from - end, to - from);
    end = to;
  }
  if (end < height * width || !counts.length) counts.push(height * width - end);
  return { size: [height, width], counts: pack(counts) };
}

/**
 * A mask whose columns from ``x0`` to before ``x1`` are changed; only these are ever held as pixels.
 * @param {Rle} rle @param {number} x0 @param {number} x1
 * @param {(strip: Uint8Array) => void} change  Given one byte a pixel, column by column.
 */
export function changeColumns(rle, x0, x1, change) {
  const [height, width] = rle.size, first = x0 * height, last = x1 * height, strip = new Uint8Array(last - first);
  /** @type {number[]} */
  const before = [], after = [], flat = intervals(rle);
  for (let k = 0; k < flat.length; k += 2) {
    const from = flat[k], to = flat[k + 1];
    if (from < first) before.push(from, Math.min(to, first));
    if (to > last) after.push(Math.max(from, last), to);
    if (to > first && from < last) strip.fill(1, Math.max(from, first) - first, Math.min(to, last) - first);
  }
  change(strip);
  for (let at = strip.indexOf(1); at >= 0; ) {
    const end = strip.indexOf(0, at), to = end < 0 ? strip.length : end;
    before.push(first + at, first + to);
    at = end < 0 ? -1 : strip.indexOf(1, to);
  }
  return fromIntervals([...before, ...after], height, width);
}

/** A mask of one byte a pixel, row by row, reduced by taking every so many pixels. @param {Rle} rle @param {number} scale  1 at most. */
export function toMask(rle, scale = 1) {
  const [height, width] = rle.size;
  const h = Math.max(1, Math.round(height * scale)), w = Math.max(1, Math.round(width * scale)), mask = new Uint8Array(h * w);
  const rows = samples(h, height, scale), columns = samples(w, width, scale), flat = intervals(rle);
  let k = 0;
  for (let x = 0; x < w; x++) {
    const start = columns[x] * height, end = start + height;
    while (k < flat.length && flat[k + 1] <= start) k += 2;
    for (let i = k; i < flat.length && flat[i] < end; i += 2) {
      const from = Math.max(flat[i], start) - start, to = Math.min(flat[i + 1], end) - start;
      for (let y = firstAt(rows, from); y < h && rows[y] < to; y++) mask[y * w + x] = 1;
    }
  }
  return { mask, height: h, width: w };
}

/** Which of ``length`` pixels each of ``count`` stands for. @param {number} count @param {number} length @param {number} scale */
function samples(count, length, scale) {
  return Array.from({ length: count }, (_, k) => Math.min(length - 1, Math.floor((k + 0.5) / scale)));
}

/** Index of the first of some rising numbers that is not below a value. @param {number[]} rising @param {number} value */
function firstAt(rising, value) {
  let low = 0, high = rising.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rising[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
