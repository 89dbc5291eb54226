/** Lines and outlines as pixels of a mask, piece by piece, so that pictures of any size take little memory. */

import { changeColumns } from "./rle.js";

/** @typedef {import("./types.js").XY} XY @typedef {import("./types.js").Rle} Rle */

const PIECE = 1024; // side of what is painted at once

/** A mask without a pixel. @param {number} width @param {number} height @returns {Rle} */
export function blank(width, height) { return changeColumns({ size: [height, width], counts: "" }, 0, 0, () => {}); }

/** A mask with a line drawn into it, or taken out of it. @param {Rle} rle @param {XY[]} line @param {number} breadth  In pixels of the picture. @param {0 | 1} value */
export function paintLine(rle, line, breadth, value) {
  const reach = breadth / 2 + 1;
  return paint(rle, around(line, reach), value, (context) => {
    context.lineWidth = breadth;
    context.lineCap = context.lineJoin = "round";
    trace(context, line);
    context.stroke();
  });
}

/** The inside of a closed line. @param {XY[]} line @param {number} width @param {number} height */
export function paintInside(line, width, height) {
  return paint(blank(width, height), around(line, 1), 1, (context) => {
    trace(context, line);
    context.fill();
  });
}

/**
 * @param {Rle} rle @param {number[]} bounds  X0 Y0 X1 Y1 of all that is drawn. @param {0 | 1} value
 * @param {(context: OffscreenCanvasRenderingContext2D) => void} draw  In pixels of the picture.
 */
function paint(rle, bounds, value, draw) {
  const [height, width] = rle.size;
  const [x0, y0, x1, y1] = [Math.max(0, bounds[0]), Math.max(0, bounds[1]), Math.min(width, bounds[2]), Math.min(height, bounds[3])];
  if (x1 <= x0 || y1 <= y0) return rle;
  const canvas = new OffscreenCanvas(Math.min(PIECE, x1 - x0), Math.min(PIECE, y1 - y0));
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  return changeColumns(rle, x0, x1, (strip) => {
    for (let left = x0; left < x1; left += canvas.width) {
      for (let top = y0; top < y1; top += canvas.height) {
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.clearRect(0, 0, canvas.width, canvas.height);
        context.translate(-left, -top);
        draw(context);
        const w = Math.min(canvas.width, x1 - left), h = Math.min(canvas.height, y1 - top), { data } = context.getImageData(0, 0, w, h);
        for (let x = 0; x < w; x++) {
          for (let y = 0, at = (left + x - x0) * height + top; y < h; y++) if (data[4 * (y * w + x) + 3] > 127) strip[at + y] = value;
        }
      }
    }
  });
}

/** @param {OffscreenCanvasRenderingContext2D} context @param {XY[]} line */
function trace(context, line) {
  context.beginPath();
  for (const [x, y] of line) context.lineTo(x, y);
  if (line.length === 1) context.lineTo(line[0][0] + 0.001, line[0][1]);
}

/** @param {XY[]} line @param {number} reach */
function around(line, reach) {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of line) { x0 = Math.min(x0, x); y0 = Math.min(y0, y); x1 = Math.max(x1, x); y1 = Math.max(y1, y); }
  return [Math.floor(x0 - reach), Math.floor(y0 - reach), Math.ceil(x1 + reach), Math.ceil(y1 + reach)];
}
