/** Opening pictures: from files, by drop and paste, from the server's folder, and from this browser's store. */

import { json, send } from "./api.js";
import { emptyDoc, makePicture } from "./editor.js";
import { keep, recall, recallAll } from "./store.js";

/** @typedef {import("./types.js").Picture} Picture */

const LARGEST = 4096; // side of a picture on the screen
const LARGEST_HERE = 40e6; // pixels up to which this browser decodes a picture itself
const LARGEST_FILE = 20e6; // bytes of a file that is decoded for a small picture alone
const OPEN = 6; // pictures whose pixels are kept
const THUMBNAIL = 168;

/** What was open in this browser, and the server's folder. @returns {Promise<Picture[]>} */
export async function firstPictures() {
  const folder = await json("GET", "/api/folder");
  const pictures = folder.pictures.map((/** @type {any} */ row) =>
    makePicture({ key: `folder:${folder.key}:${row.name}`, name: row.name, index: row.index, count: row.objects }));
  if (pictures.length) return pictures;
  return (await recallAll()).map((row) => ({ ...makePicture(row), ...row, count: row.doc.items.length }));
}

/** Pictures from files; others are left out. @param {Iterable<File>} files @returns {Picture[]} */
export function fromFiles(files) {
  const wanted = [...files].filter((file) => file.type.startsWith("image/") || /\.(tiff?|bmp|ppm|pgm)$/i.test(file.name));
  const now = String(Date.now()).padStart(15, "0");
  return wanted.map((file, k) => makePicture({ key: `${now}-${String(k).padStart(4, "0")}`, name: file.name || "pasted.png", blob: file }));
}

/** Brings a picture to the screen: what was done on it, its size and its pixels. @param {Picture} picture @param {import("./ask.js").Asker} asker */
export async function load(picture, asker) {
  if (picture.bitmap) return;
  if (picture.index !== null) await loadFromFolder(picture);
  else if (!picture.width) await loadFromFile(picture, asker);
  else picture.bitmap = await show(picture, asker);
  if (!picture.thumbnail && picture.bitmap) picture.thumbnail = thumbnail(picture.bitmap);
}

/** The pixels shown at last. @type {Picture[]} */
let latest = [];

/** Lets go of pixels but for the last few pictures and the present one's neighbours. @param {Picture[]} pictures @param {Picture} current */
export function keepFew(pictures, current) {
  latest = [current, ...latest.filter((picture) => picture !== current)].slice(0, OPEN);
  const at = pictures.indexOf(current);
  for (const [k, picture] of pictures.entries()) {
    if (!picture.bitmap || latest.includes(picture) || Math.abs(k - at) < 2) continue;
    picture.bitmap.close();
    picture.bitmap = null;
  }
}

/** @param {Picture} picture */
async function loadFromFolder(picture) {
  const known = picture.width > 0, opened = await json("POST", `/api/folder/${picture.index}`);
  Object.assign(picture, { server: opened.id, width: opened.width, height: opened.height });
  if (!known) await recallWork(picture, opened);
  picture.bitmap = await fromServer(opened.id);
}

/** What was done on a picture of the folder: of the server's copy and this browser's, the newer one. @param {Picture} picture @param {any} opened */
async function recallWork(picture, opened) {
  const mine = await recall(picture.key);
  if (mine && mine.savedAt >= opened.annotations.saved_at) {
    Object.assign(picture, { doc: mine.doc, past: mine.past, future: mine.future, savedAt: mine.savedAt });
  } else if (!picture.doc.items.length) picture.doc = fromAnnotations(opened.annotations);
  picture.count = picture.doc.items.length;
}

/** @param {Picture} picture @param {import("./ask.js").Asker} asker */
async function loadFromFile(picture, asker) {
  const id = await asker.upload(picture);
  const opened = await json("GET", `/api/pictures/${id}`);
  Object.assign(picture, { width: opened.width, height: opened.height });
  picture.bitmap = await show(picture, asker);
  await keep(picture);
}

/** The pixels for the screen: of the file where the browser reads it, else as the server sees it. @param {Picture} picture @param {import("./ask.js").Asker} asker */
async function show(picture, asker) {
  if (picture.width * picture.height > LARGEST_HERE) return fromServer(await asker.upload(picture));
  const scale = Math.min(1, LARGEST / Math.max(picture.width, picture.height));
  const size = scale < 1 ? { resizeWidth: Math.round(picture.width * scale), resizeHeight: Math.round(picture.height * scale), resizeQuality: /** @type {const} */ ("medium") } : {};
  try {
    return await createImageBitmap(/** @type {Blob} */ (picture.blob), size);
  } catch {
    return fromServer(await asker.upload(picture));
  }
}

/** @param {string} id */
async function fromServer(id) {
  const response = await send("GET", `/api/pictures/${id}/preview?side=${LARGEST}`);
  return createImageBitmap(await response.blob());
}

/** @param {ImageBitmap} bitmap */
function thumbnail(bitmap) {
  const scale = THUMBNAIL / Math.max(bitmap.width, bitmap.height), canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.8);
}

/** A small picture of one that was not opened yet. @param {Picture} picture */
export async function thumbnailOf(picture) {
  if (picture.thumbnail) return;
  if (picture.index === null) {
    if (!picture.blob || picture.blob.size > LARGEST_FILE) return;
    const bitmap = await createImageBitmap(picture.blob, { resizeWidth: 2 * THUMBNAIL, resizeQuality: "medium" });
    picture.thumbnail ??= thumbnail(bitmap);
    return bitmap.close();
  }
  const response = await send("GET", `/api/folder/${picture.index}/thumbnail`);
  picture.thumbnail ??= URL.createObjectURL(await response.blob());
}

/** What the server keeps of a picture of its folder. @param {Picture} picture */
export function toAnnotations(picture) {
  const objects = picture.doc.items.map(({ label, colour, score, mask, ...page }) => {
    const { candidates: _, edges: __, ...rest } = page;
    return { label, colour, score, mask, page: rest };
  });
  return { objects, saved_at: picture.savedAt };
}

/** @param {any} annotations @returns {import("./types.js").Doc} */
function fromAnnotations(annotations) {
  if (!annotations.objects.length) return emptyDoc();
  const items = annotations.objects.map((/** @type {any} */ { page, ...kept }, /** @type {number} */ k) => ({
    id: `saved-${k}`, clicks: [], strokes: [], box: null, lasso: null, chosen: 0, edited: false, hidden: false, refine: false,
    look: "auto", ...page, candidates: [], edges: null, ...kept,
  }));
  return { items, active: items[0].id };
}
