/** Masks as the canvas draws them: a tinted picture and an outline, made once for each mask. */

import { toMask } from "./rle.js";

/** @typedef {import("./types.js").Rle} Rle */
/** @typedef {{canvas: HTMLCanvasElement, colour: string, outline: Path2D, scale: number, bounds: number[]}} Layer  Bounds X0 Y0 X1 Y1 in pixels of the canvas. */

const LARGEST = 2048; // longer side of a tint in pixels; the outline of a larger mask is as fine as its tint

/** @type {WeakMap<Rle, Layer>} */
const layers = new WeakMap();

/** The layer of a mask in a colour. @param {Rle} rle @param {string} colour @returns {Layer} */
export function layerOf(rle, colour) {
  const known = layers.get(rle);
  if (known && known.colour === colour) return known;
  const { mask, width, height, scale } = shrink(rle);
  const layer = {
    canvas: tint(mask, width, height, colour), colour, scale,
    bounds: known ? known.bounds : boundsOf(mask, width, height),
    outline: known ? known.outline : trace(mask, width, height, 1 / scale),
  };
  layers.set(rle, layer);
  return layer;
}

/** Whether a pixel belongs to a mask. @param {Rle} rle @param {number} x @param {number} y */
export function covers(rle, x, y) {
  const { canvas, scale } = layerOf(rle, layers.get(rle)?.colour ?? "#00c8ff");
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  return context.getImageData(Math.floor(x * scale), Math.floor(y * scale), 1, 1).data[3] > 0;
}

/** @param {Rle} rle */
function shrink(rle) {
  const scale = Math.min(1, LARGEST / Math.max(...rle.size));
  return { ...toMask(rle, scale), scale };
}

/** @param {Uint8Array} mask @param {number} width @param {number} height @param {string} colour */
function tint(mask, width, height, colour) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  const image = context.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const value = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  for (let k = 0; k < mask.length; k++) if (mask[k]) pixels[k] = value;
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Where a mask lies; all of the picture where it is empty. @param {Uint8Array} mask @param {number} width @param {number} height */
function boundsOf(mask, width, height) {
  let x0 = width, y0 = height, x1 = 0, y1 = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0, at = y * width; x < width; x++, at++) {
      if (!mask[at]) continue;
      if (x < x0) x0 = x;
      if (x >= x1) x1 = x + 1;
      if (y < y0) y0 = y;
      y1 = y + 1;
    }
  }
  return x1 ? [x0, y0, x1, y1] : [0, 0, width, height];
}

/** The edges between object and background, as straight runs. @param {Uint8Array} mask @param {number} width @param {number} height @param {number} unit */
function trace(mask, width, height, unit) {
  const path = new Path2D();
  /** @param {(along: number, across: number) => number} at @param {number} length @param {number} breadth @param {(from: number, to: number, across: number) => void} draw */
  const runs = (at, length, breadth, draw) => {
    for (let across = 0; across <= breadth; across++) {
      let start = -1;
      for (let along = 0; along <= length; along++) {
        const differs = along < length && (across > 0 ? at(along, across - 1) : 0) !== (across < breadth ? at(along, across) : 0);
        if (differs && start < 0) start = along;
        if (!differs && start >= 0) { draw(start * unit, along * unit, across * unit); start = -1; }
      }
    }
  };
  runs((x, y) => mask[y * width + x], width, height, (a, b, y) => { path.moveTo(a, y); path.lineTo(b, y); });
  runs((y, x) => mask[y * width + x], height, width, (a, b, x) => { path.moveTo(x, a); path.lineTo(x, b); });
  return path;
}
