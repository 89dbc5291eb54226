/** The page: makes the parts and lets them know each other. */

import { json, Refusal } from "./api.js";
import { Asker } from "./ask.js";
import { Editor } from "./editor.js";
import { Exports } from "./exports.js";
import { bindings, LIST } from "./bindings.js";
import { fillList, listen } from "./keys.js";
import { Lessons } from "./learn.js";
import { icon, Panel } from "./panel.js";
import { firstPictures, fromFiles, keepFew, load, thumbnailOf } from "./pictures.js";
import { forget, keep } from "./store.js";
import { Saver } from "./saving.js";
import { Strip } from "./strip.js";
import { failed, settle, status } from "./told.js";
import { Tools, TOOLS } from "./tools.js";
import { View } from "./view.js";

/** @typedef {import("./types.js").Picture} Picture @typedef {import("./types.js").ModelRow} ModelRow @typedef {import("./tools.js").Tool} Tool */

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

const editor = new Editor();
const view = new View(element("canvas"), editor);
/** @type {ModelRow[]} */
let models = [];
const asker = new Asker(editor, {
  model: () => element("model").value,
  row: () => page.model(),
  wantsEdges: () => view.edges,
  busy: (text) => status(text, true),
  done: (text) => { status(text); settle("answer"); },
  failed: (error) => failed(error, "answer"),
});
const page = { ask: (/** @type {string} */ id) => void asker.ask(id), model: () => models.find((model) => model.name === element("model").value), moved };
const panel = new Panel(editor, page);
const tools = new Tools(view, editor, page);
const strip = new Strip(element("strip"), editor, { go: (picture) => void go(picture), remove: (picture) => void remove(picture), fetch: thumbnailOf });
const saver = new Saver(asker, element("saved"), { failed, settle });
const exports = new Exports(element("exports"), editor, asker, failed);
const lessons = new Lessons(element("lessons"), element("learn"), editor, asker, {
  failed,
  model: () => page.model(),
  saved: () => saver.all(),
  use: async (name) => { await listModels(); useModel(name); },
});
/** What keys can do, see bindings.js. */
const act = {
  editor, view, tools, panel, asker, element, use, showContext, travel, nextObject, nextModel, toggle, opacity, theme, step,
  leave: () => { tools.leave(); asker.giveUp(); settle(); },
  open: () => element("files").click(),
  remove: () => void remove(editor.picture),
  save: () => { if (!element("export").disabled) void exports.open().catch(failed); },
  learn: () => { if (!element("learn").disabled) void lessons.open().catch(failed); },
  find: () => { if (!element("find-section").hidden) void asker.find(); },
  keys: () => element("keys").showModal(),
};

/** @param {import("./types.js").XY | null} at */
function moved(at) { element("canvas").dataset.at = at ? `${Math.floor(at[0])},${Math.floor(at[1])}` : ""; }

// ---- pictures ----

/** @param {Picture} picture */
async function go(picture) {
  const before = editor.picture, known = picture.width > 0;
  tools.cross = null;
  tools.leave();
  editor.picture = picture;
  view.fitted = true;
  localStorage.setItem("last", picture.key);
  status(picture.bitmap ? "" : "Opening", !picture.bitmap);
  editor.emit();
  try {
    await load(picture, asker);
  } catch (error) {
    const useless = picture.served === null && !known && error instanceof Refusal && [413, 415, 422].includes(error.status);
    if (useless) await leave(picture, before); // one that was of use before may have objects, and stays
    return failed(error, picture.key);
  }
  settle(picture.key);
  if (editor.picture !== picture) return;
  view.fit();
  editor.emit();
  keepFew(editor.pictures, picture);
  await asker.prepare(picture);
  if (editor.picture === picture) asker.askWaiting();
  const next = editor.pictures[editor.pictures.indexOf(picture) + 1];
  if (next && editor.picture === picture) void load(next, asker).then(() => { strip.show(); return asker.prepare(next, false); }).catch(() => {});
}

/** Forgets a picture. Where it is shown still, another takes its place. @param {Picture} picture @param {Picture | null} instead */
async function leave(picture, instead) {
  picture.removed = true;
  asker.cancel(picture);
  await saver.drop(picture);
  await forget(picture.key).catch(() => {}); // a store that is away keeps nothing anyway
  editor.pictures = editor.pictures.filter((other) => other !== picture);
  const shown = editor.picture === picture;
  if (shown) editor.picture = null;
  editor.emit();
  if (shown && instead && !instead.removed) await go(instead);
}

/** Takes a picture that was opened from a file out of this browser. @param {Picture | null} picture */
async function remove(picture) {
  if (!picture || picture.served !== null) return;
  const marked = picture.count ? ` and its ${picture.count} object${picture.count > 1 ? "s" : ""}` : "";
  if (!confirm(`Remove ${picture.name}${marked} from this browser?`)) return;
  const at = editor.pictures.indexOf(picture);
  await leave(picture, editor.pictures[at + 1] ?? editor.pictures[at - 1] ?? null);
}

/** @param {Iterable<File>} files */
async function open(files) {
  const pictures = fromFiles(files, editor.pictures);
  if (!pictures.length) return failed(new Refusal(0, "There is no picture among these files.", "Give a JPEG, PNG, WebP, TIFF or BMP."));
  editor.pictures.push(...pictures);
  for (const picture of pictures.slice(1)) void keep(picture);
  await go(pictures[0]);
}

/** @param {number} by */
function step(by) {
  const at = editor.pictures.indexOf(/** @type {Picture} */ (editor.picture)) + by;
  if (editor.pictures[at]) void go(editor.pictures[at]);
}

async function example() {
  const blob = await (await fetch("/page/demo.jpg")).blob();
  await open([new File([blob], "moth.jpg", { type: "image/jpeg" })]);
}

// ---- saving ----

editor.addEventListener("change", (event) => {
  const { dirty, picture } = /** @type {CustomEvent} */ (event).detail;
  if (dirty && picture) { saver.soon(picture); }
  show();
});
addEventListener("beforeunload", (event) => { if (saver.unsaved.size) event.preventDefault(); });

// ---- the frame ----

function show() {
  const picture = editor.picture;
  element("empty").hidden = Boolean(picture);
  element("zoom").hidden = element("context").hidden = !picture;
  element("undo").disabled = !picture?.past.length;
  element("redo").disabled = !picture?.future.length;
  element("export").disabled = !editor.pictures.some((other) => other.count);
  element("edges").disabled = !page.model()?.edges;
  const model = page.model(), finds = Boolean(picture && model && (!model.prompts.length || model.prompts.includes("point")));
  element("find-section").hidden = !finds;
  element("find-hint").textContent = model?.prompts.length ? "A grid of clicks; takes some seconds to a minute. Esc stops it." : `${model?.name} marks what stands out.`;
  element("learn").disabled = !editor.pictures.length;
  const at = picture ? editor.pictures.indexOf(picture) : -1;
  element("place").hidden = editor.pictures.length < 2;
  element("where").replaceChildren(picture?.name ?? "", Object.assign(document.createElement("small"), { textContent: `${at + 1} / ${editor.pictures.length}` }));
  element("previous").disabled = at <= 0;
  element("next").disabled = at >= editor.pictures.length - 1;
  document.title = picture ? `${picture.name} · vns-sam` : "vns-sam";
  panel.show();
  strip.show();
  view.draw();
}

function showZoom() { element("percent").textContent = `${Math.round(view.scale * 100)}%`; }

/** @param {Tool} tool */
function use(tool) {
  tools.leave();
  tools.tool = tool;
  for (const button of element("tools").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  element("canvas").style.cursor = tool === "hand" ? "grab" : tool === "brush" || tool === "eraser" ? "none" : "crosshair";
  showContext();
}

/** What the tool in use can be told: object or background, or how wide it is. */
function showContext() {
  const box = element("context");
  if (tools.tool === "click" || tools.tool === "scribble") {
    box.replaceChildren(...[1, 0].map((sign) => {
      const button = document.createElement("button"), dot = Object.assign(document.createElement("i"), { className: `dot ${sign ? "plus" : "minus"}` });
      button.append(dot, sign ? "Object" : "Background");
      button.title = `${sign ? "Object" : "Background"} (X)`;
      button.setAttribute("aria-pressed", String(tools.sign === sign));
      button.addEventListener("click", () => { tools.sign = /** @type {0 | 1} */ (sign); showContext(); });
      return button;
    }));
  } else if (tools.tool === "brush" || tools.tool === "eraser") {
    const slider = Object.assign(document.createElement("input"), { type: "range", min: "1", max: "80", value: String(tools.radius) });
    slider.addEventListener("input", () => { tools.radius = Number(slider.value); });
    const label = document.createElement("label");
    label.append("Size", slider);
    box.replaceChildren(label);
  } else {
    const text = { box: "Drag around the object", lasso: "Draw around the object", hand: "Drag to move, click to select an object" }[tools.tool];
    box.replaceChildren(Object.assign(document.createElement("label"), { textContent: text }));
  }
}

/** @param {"undo" | "redo"} way */
function travel(way) {
  asker.cancel();
  editor[way]();
  asker.askWaiting();
}

/** @param {number} by */
function nextObject(by) {
  const items = editor.picture?.doc.items ?? [], at = items.findIndex((item) => item === editor.active);
  if (items.length) editor.select(items[(at + by + items.length) % items.length].id);
}

/** @param {string} name */
function useModel(name) {
  element("model").value = name;
  localStorage.setItem("model", name);
  if (editor.picture?.bitmap) void asker.prepare(editor.picture);
  show();
}

function nextModel() {
  const at = models.findIndex((model) => model.name === element("model").value);
  useModel(models[(at + 1) % models.length].name);
}

/** @param {"outline" | "edges" | "solo"} name */
function toggle(name) {
  if (element(name).disabled) return;
  view[name] = element(name).checked = !view[name];
  const item = editor.active;
  if (name === "edges" && view.edges && item && !item.edges && !item.edited) void asker.edges(item);
  view.draw();
}

/** Makes masks more or less opaque. @param {number} by  In percent. */
function opacity(by) {
  const slider = element("opacity");
  slider.value = String(Number(slider.value) + by);
  view.opacity = Number(slider.value) / 100;
  element("opacity-value").textContent = `${slider.value}%`;
  view.draw();
}

function theme() {
  const now = document.documentElement.dataset.theme === "light" ? "dark" : "light";
  document.documentElement.dataset.theme = now;
  localStorage.setItem("theme", now);
}

function makeTools() {
  element("tools").replaceChildren(...TOOLS.map(({ name, key, title }) => {
    const button = document.createElement("button");
    button.dataset.tool = name;
    button.title = `${title} (${key})`;
    button.setAttribute("aria-label", title);
    button.append(icon(name), Object.assign(document.createElement("small"), { textContent: key }));
    button.addEventListener("click", () => use(name));
    return button;
  }));
}

function connect() {
  const on = (/** @type {string} */ id, /** @type {() => void} */ act) => element(id).addEventListener("click", act);
  on("undo", () => travel("undo"));
  on("redo", () => travel("redo"));
  on("previous", () => step(-1));
  on("next", () => step(1));
  for (const id of ["open", "choose"]) on(id, () => element("files").click());
  on("demo", () => void example().catch(failed));
  on("export", () => void exports.open().catch(failed));
  on("theme", theme);
  on("help", () => element("keys").showModal());
  on("in", () => view.zoom(1.25));
  on("out", () => view.zoom(0.8));
  on("fit", () => view.fit());
  on("percent", () => view.zoom(1 / view.scale));
  on("find", () => void asker.find());
  on("learn", act.learn);
  element("files").addEventListener("change", () => { void open(element("files").files); element("files").value = ""; });
  element("model").addEventListener("change", () => useModel(element("model").value));
  element("opacity").addEventListener("input", () => opacity(0));
  for (const name of /** @type {const} */ (["outline", "edges", "solo"])) element(name).addEventListener("change", () => { view[name] = !element(name).checked; toggle(name); });
  element("canvas").addEventListener("viewchange", showZoom);
  connectFiles();
}

function connectFiles() {
  addEventListener("dragover", (event) => { event.preventDefault(); element("drop").hidden = false; });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) element("drop").hidden = true; });
  addEventListener("drop", (event) => {
    event.preventDefault();
    element("drop").hidden = true;
    if (event.dataTransfer?.files.length) void open(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (files?.length) void open(files);
  });
}

/** Fills the picker; what was chosen stays. */
async function listModels() {
  models = await json("GET", "/api/models");
  element("model").replaceChildren(...models.map(({ name, adapted_from: start }) =>
    Object.assign(document.createElement("option"), { value: name, textContent: start ? `${name} (${start})` : name })));
  const model = localStorage.getItem("model");
  if (models.some(({ name }) => name === model)) element("model").value = model;
}

async function start() {
  const wished = localStorage.getItem("theme");
  document.documentElement.dataset.theme = wished ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
  makeTools();
  connect();
  listen(bindings(act));
  addEventListener("keyup", (event) => { if (event.key === " ") tools.space = false; });
  fillList(element("keys"), LIST);
  use("click");
  show();
  try {
    await listModels();
    editor.pictures = await firstPictures();
    const last = localStorage.getItem("last");
    const picture = editor.pictures.find(({ key }) => key === last) ?? editor.pictures[0];
    if (picture) await go(picture);
    else show();
  } catch (error) { failed(error); }
  void lessons.look().catch(() => {});
  document.documentElement.dataset.ready = "true";
}

void start();
