// Bringing a picture into the model's input, and its map back, in the arithmetic of the Python package.

/**
 * @typedef {{height: number, width: number, fittedHeight: number, fittedWidth: number, inputHeight: number,
 *   inputWidth: number}} Geometry How a picture lies in the input: scaled, padded right and bottom.
 */

/**
 * Scales the longer side to `side` with the aspect kept, or both where the model wants that.
 * @param {number} height @param {number} width @param {number} side
 * @param {'pad' | 'stretch' | 'tight'} how Padded to the square, stretched over it, or padded to a multiple of `unit`.
 * @param {number} unit
 * @returns {Geometry}
 */
export function fit(height, width, side, how, unit) {
  const scale = side / Math.max(height, width);
  const fitted = (length) => (how === 'stretch' ? side : Math.max(1, Math.floor(length * scale + 0.5)));
  const padded = (length) => (how === 'tight' ? Math.ceil(fitted(length) / unit) * unit : side);
  return {
    height, width, fittedHeight: fitted(height), fittedWidth: fitted(width), inputHeight: padded(height), inputWidth: padded(width),
  };
}

const BITS = 22; // of a weight; halves between two values are rounded as Pillow rounds them only with its whole numbers

/**
 * Weights of a triangle filter that widens where a line shrinks, as Pillow's BILINEAR has them: in parts of 2 ** BITS.
 * @param {number} from @param {number} to
 * @returns {{first: number, weights: Int32Array}[]} For each new pixel where it begins to read, and its weights.
 */
function triangle(from, to) {
  const scale = from / to, support = Math.max(1, scale);
  return Array.from({ length: to }, (_, at) => {
    const centre = (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights = new Float64Array(last - first);
    let sum = 0;
    for (let k = 0; k < weights.length; k++) {
      weights[k] = Math.max(0, 1 - Math.abs((k + first - centre + 0.5) * (1 / support)));
      sum += weights[k];
    }
    return { first, weights: Int32Array.from(weights, (weight) => Math.floor((weight / sum) * 2 ** BITS + 0.5)) };
  });
}

/**
 * One new pixel's value, rounded.
 * @param {ArrayLike<number>} values @param {number} start @param {number} step @param {Int32Array} weights
 */
function mixed(values, start, step, weights) {
  let sum = 2 ** (BITS - 1);
  for (let k = 0; k < weights.length; k++) sum += weights[k] * values[start + k * step];
  return sum >> BITS;
}

/**
 * A picture as the encoder's input: RGB planes of 0..255, padded with the mean.
 * @param {ImageData} picture @param {Geometry} geometry @param {number[]} mean
 * @returns {Float32Array} (3, inputHeight, inputWidth)
 */
export function toInput(picture, geometry, mean) {
  const { height, width, fittedHeight, fittedWidth, inputHeight, inputWidth } = geometry;
  const across = triangle(width, fittedWidth), down = triangle(height, fittedHeight);
  const all = inputHeight * inputWidth, input = new Float32Array(3 * all);
  const narrow = new Uint8ClampedArray(height * fittedWidth); // rounded in between, as Pillow does
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < fittedWidth; x++) {
        const { first, weights } = across[x];
        narrow[y * fittedWidth + x] = mixed(picture.data, 4 * (y * width + first) + channel, 4, weights);
      }
    }
    const plane = input.subarray(channel * all, (channel + 1) * all).fill(mean[channel]);
    for (let y = 0; y < fittedHeight; y++) {
      const { first, weights } = down[y];
      for (let x = 0; x < fittedWidth; x++) {
        plane[y * inputWidth + x] = mixed(narrow, first * fittedWidth + x, fittedWidth, weights);
      }
    }
  }
  return input;
}

/**
 * Bilinear without smoothing, to which pixels' values a line of another length is mixed.
 * @param {number} from @param {number} to
 */
function linear(from, to) {
  const low = new Int32Array(to), high = new Int32Array(to), share = new Float32Array(to);
  for (let at = 0; at < to; at++) {
    const place = Math.max(0, ((at + 0.5) * from) / to - 0.5);
    low[at] = Math.min(from - 1, Math.floor(place));
    high[at] = Math.min(from - 1, low[at] + 1);
    share[at] = place - low[at];
  }
  return { low, high, share };
}

/**
 * @param {Float32Array} values (height, width) in rows of `stride` @param {number} stride
 * @param {[number, number]} from Height and width @param {[number, number]} to
 */
function resize(values, stride, from, to) {
  const rows = linear(from[0], to[0]), columns = linear(from[1], to[1]);
  const out = new Float32Array(to[0] * to[1]);
  for (let y = 0; y < to[0]; y++) {
    const top = rows.low[y] * stride, bottom = rows.high[y] * stride, v = rows.share[y];
    for (let x = 0; x < to[1]; x++) {
      const l = columns.low[x], r = columns.high[x], u = columns.share[x];
      const upper = values[top + l] * (1 - u) + values[top + r] * u;
      const lower = values[bottom + l] * (1 - u) + values[bottom + r] * u;
      out[y * to[1] + x] = upper * (1 - v) + lower * v;
    }
  }
  return out;
}

/**
 * A map over the input at the picture's size: to the input, padding cut off, to the picture.
 * @param {Float32Array} map Of `cells` @param {[number, number]} cells Height and width @param {Geometry} geometry
 * @returns {Float32Array} (height, width)
 */
export function toPicture(map, cells, geometry) {
  const { height, width, fittedHeight, fittedWidth, inputHeight, inputWidth } = geometry;
  const input = resize(map, cells[1], cells, [inputHeight, inputWidth]);
  return resize(input, inputWidth, [fittedHeight, fittedWidth], [height, width]);
}
