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

/** A mask as one byte a pixel, row by row. @param {Rle} rle */
export function toMask(rle) {
  const [height, width] = rle.size, mask = new Uint8Array(height * width);
  let at = 0, value = 0;
  for (const count of unpack(rle.counts)) {
    if (value) {
      for (let end = at + count, x = Math.floor(at / height), y = at % height; at < end; at++) {
        mask[y * width + x] = 1;
        if (++y === height) { y = 0; x++; }
      }
    } else at += count;
    value ^= 1;
  }
  return mask;
}

/** Run lengths of a mask of one byte a pixel. @param {Uint8Array} mask @param {number} height @param {number} width @returns {Rle} */
export function fromMask(mask, height, width) {
  /** @type {number[]} */
  const counts = [];
  let value = 0, run = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0, at = x; y < height; y++, at += width) {
      if ((mask[at] ? 1 : 0) !== value) { counts.push(run); run = 0; value ^= 1; }
      run++;
    }
  }
  counts.push(run);
  return { size: [height, width], counts: pack(counts) };
}

/** Whether a mask holds no pixel. @param {Rle} rle */
export function isEmpty(rle) {
  return unpack(rle.counts).every((count, k) => k % 2 === 0 || count === 0);
}
