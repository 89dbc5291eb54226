// The model, off the page's own thread: opens the graphs, encodes a picture once, answers prompts.

import * as ort from './ort/ort.wasm.min.mjs';
import { fit, toInput, toPicture } from './resample.js';

/** @typedef {{box: number[] | null, points: number[][], labels: number[]}} Prompt In pixels of the picture. */

const NOT_A_POINT = -1, LEFT_TOP = 2, RIGHT_BOTTOM = 3;

ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;

let manifest, encoder, decoder, geometry, features;

const tasks = {
  async open() {
    manifest = await (await fetch('./onnx.json')).json();
    [encoder, decoder] = await Promise.all(['encoder', 'decoder'].map((name) => ort.InferenceSession.create(`./${name}.onnx`)));
    return { name: manifest.name };
  },

  /** @param {{picture: ImageData}} asked */
  async encode({ picture }) {
    const { image_size: side, mean, fit: how, stride } = manifest.preprocessing;
    geometry = fit(picture.height, picture.width, side, how, 2 * stride);
    const size = [1, 3, geometry.inputHeight, geometry.inputWidth];
    const pixels = new ort.Tensor('float32', toInput(picture, geometry, mean), size);
    features = Object.values(await encoder.run({ pixels }));
    return {};
  },

  /** @param {Prompt} prompt */
  async decode(prompt) {
    const cells = [geometry.inputHeight, geometry.inputWidth].map((length) => (4 * length) / manifest.preprocessing.stride);
    const all = cells[0] * cells[1];
    const { places, labels } = toModel(prompt);
    const [embedding, ...maps] = features;
    const found = await decoder.run({
      embedding,
      points: new ort.Tensor('float32', Float32Array.from(places.flat()), [1, labels.length, 2]),
      labels: new ort.Tensor('int64', BigInt64Array.from(labels.map(BigInt)), [1, labels.length]),
      masks: new ort.Tensor('float32', new Float32Array(all), [1, 1, ...cells]),
      has_mask: new ort.Tensor('float32', new Float32Array(1), [1]),
      ...Object.fromEntries(maps.map((map, k) => [`maps.${k}`, map])),
    });
    const own = { logits: found.mask_logits.data, score: found.scores.data[0] };
    const others = [...found.candidate_scores.data].map((score, k) => ({
      score, logits: found.candidate_logits.data.subarray(k * all, (k + 1) * all),
    }));
    others.sort((a, b) => b.score - a.score);
    return { masks: [own, ...others].map(({ logits, score }) => ({ score, mask: inside(toPicture(logits, cells, geometry)) })) };
  },
};

/** What the prompt encoder sees: clicks, "not a point" where there is no box, then the box's corners. */
function toModel({ box, points, labels }) {
  const x = geometry.fittedWidth / geometry.width, y = geometry.fittedHeight / geometry.height;
  const scaled = ([px, py]) => [px * x, py * y];
  const places = points.map(scaled), kinds = [...labels];
  if (box) {
    places.push(scaled(box.slice(0, 2)), scaled(box.slice(2)));
    kinds.push(LEFT_TOP, RIGHT_BOTTOM);
  }
  if (!box || manifest.closed_prompts) {
    places.push([0, 0]);
    kinds.push(NOT_A_POINT);
  }
  return { places, labels: kinds };
}

/** @param {Float32Array} logits @returns {Uint8Array} 1 inside */
function inside(logits) {
  return Uint8Array.from(logits, (value) => (value > 0 ? 1 : 0));
}

self.onmessage = async ({ data: { id, task, asked } }) => {
  try {
    self.postMessage({ id, answer: await tasks[task](asked) });
  } catch (error) {
    self.postMessage({ id, error: String(error.message ?? error) });
  }
};
