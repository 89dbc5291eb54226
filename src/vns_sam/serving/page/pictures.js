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
    makePicture({ key: `folder:${folder.key}:${row.name}`, name: row.name, served: row.key, count: row.objects }));
  const opened = (await recallAll()).filter((row) => (row.place ?? "") === (folder.key ?? ""));
  return [...pictures, ...opened.map((row) => makePicture({ ...row, base: row.savedAt, count: row.doc.items.length }))];
}

/** The key of the server's folder beside which a page works, "" where there is none. @param {Picture[]} pictures */
export function placeOf(pictures) { return pictures.find(({ served }) => served !== null)?.key.split(":")[1] ?? ""; }

/** Pictures from files; others are left out. They come back to where they were opened: beside a folder of the server, or none. @param {Iterable<File>} files @param {Picture[]} beside @returns {Picture[]} */
export function fromFiles(files, beside) {
  const place = placeOf(beside);
  const wanted = [...files].filter((file) => file.type.startsWith("image/") || /\.(tiff?|bmp|ppm|pgm)$/i.test(file.name));
  const now = String(Date.now()).padStart(15, "0");
  return wanted.map((file, k) => makePicture({ key: `${now}-${String(k).padStart(4, "0")}`, name: file.name || "pasted.png", blob: file, place }));
}

/** Brings a picture to the screen: what was done on it, its size and its pixels. @param {Picture} picture @param {import("./ask.js").Asker} asker */
export async function load(picture, asker) {
  if (picture.bitmap) return;
  if (picture.served !== null) await loadFromFolder(picture, asker.editor);
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

/** @param {Picture} picture @param {import("./editor.js").Editor} editor */
async function loadFromFolder(picture, editor) {
  const known = picture.width > 0, opened = await json("POST", `/api/folder/${picture.served}`);
  Object.assign(picture, { server: opened.id, width: opened.width, height: opened.height });
  if (!known) await recallWork(picture, opened, editor);
  picture.bitmap = await fromServer(opened.id);
}

/** What was done on a picture of the folder before this page opened it. What never came there, where nothing else did since, is to be saved. @param {Picture} picture @param {any} opened @param {import("./editor.js").Editor} editor */
async function recallWork(picture, opened, editor) {
  const mine = await recall(picture.key), theirs = opened.annotations, work = newest(mine, theirs);
  if (picture.doc.items.length) return;
  Object.assign(picture, work, { count: work.doc.items.length });
  if (mine && mine.savedAt !== mine.base && mine.base === theirs.saved_at) editor.emit(picture);
}

/**
 * This browser's copy of the work on a picture of the folder, or the server's where that was changed elsewhere since; undo then brings this browser's back.
 * @param {any} mine @param {any} theirs
 * @returns {Pick<Picture, "doc" | "past" | "future" | "savedAt" | "base">}
 */
function newest(mine, theirs) {
  const base = theirs.saved_at, since = mine?.base ?? (mine?.savedAt > base ? base : NaN);
  if (mine && (!base || mine.savedAt === base || since === base)) return { doc: mine.doc, past: mine.past, future: mine.future, savedAt: mine.savedAt, base };
  return { doc: fromAnnotations(theirs), past: mine?.doc.items.length ? [mine.doc] : [], future: [], savedAt: base, base };
}

/** The objects of a picture, whether this page has opened it or not. @param {Picture} picture @returns {Promise<import("./types.js").Item[]>} */
export async function itemsOf(picture) {
  if (picture.width) return picture.doc.items;
  const mine = await recall(picture.key);
  if (picture.served === null || (!mine && !picture.count)) return (mine ?? picture).doc.items;
  return newest(mine, await savedThere(picture)).doc.items;
}

/** What the server has of a picture of its folder. @param {Picture} picture */
const savedThere = (picture) => json("GET", `/api/folder/${picture.served}/annotations`);

/** What the server has, as this page shows it. @param {Picture} picture @returns {Promise<import("./types.js").Work>} */
export async function workThere(picture) {
  const theirs = await savedThere(picture);
  return { doc: fromAnnotations(theirs), savedAt: theirs.saved_at };
}

/** @param {Picture} picture @param {import("./ask.js").Asker} asker */
async function loadFromFile(picture, asker) {
  const opened = await asker.knowing(picture, (id) => json("GET", `/api/pictures/${id}`));
  Object.assign(picture, { width: opened.width, height: opened.height });
  picture.bitmap = await show(picture, asker);
  await keep(picture);
}

/** The pixels for the screen: of the file where the browser reads it, else as the server sees it. @param {Picture} picture @param {import("./ask.js").Asker} asker */
async function show(picture, asker) {
  if (picture.width * picture.height > LARGEST_HERE) return asker.knowing(picture, fromServer);
  const scale = Math.min(1, LARGEST / Math.max(picture.width, picture.height));
  const size = scale < 1 ? { resizeWidth: Math.round(picture.width * scale), resizeHeight: Math.round(picture.height * scale), resizeQuality: /** @type {const} */ ("medium") } : {};
  try {
    return await createImageBitmap(/** @type {Blob} */ (picture.blob), size);
  } catch {
    return asker.knowing(picture, fromServer);
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
  if (picture.served === null) {
    if (!picture.blob || picture.blob.size > LARGEST_FILE) return;
    const bitmap = await createImageBitmap(picture.blob, { resizeWidth: 2 * THUMBNAIL, resizeQuality: "medium" });
    picture.thumbnail ??= thumbnail(bitmap);
    return bitmap.close();
  }
  const response = await send("GET", `/api/folder/${picture.served}/thumbnail`);
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
    look: "auto", waits: false, ...page, candidates: [], edges: null, ...kept,
  }));
  return { items, active: items[0].id };
}
