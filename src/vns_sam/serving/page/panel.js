/** The panel: the list of objects, and what can be done with the selected one. */

import { layerOf } from "./masks.js";
import { isPrompted } from "./editor.js";

/** @typedef {import("./types.js").Item} Item */

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** An icon of the sprite. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), use = document.createElementNS(svg.namespaceURI ?? "", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button that shows an icon. @param {string} name @param {string} title @param {() => void} act */
export function iconButton(name, title, act) {
  const button = document.createElement("button");
  button.className = "icon";
  button.title = title;
  button.setAttribute("aria-label", title);
  button.append(icon(name));
  button.addEventListener("click", (event) => { event.stopPropagation(); act(); });
  return button;
}

export class Panel {
  /** @param {import("./editor.js").Editor} editor @param {{ask: (id: string) => void, model: () => import("./types.js").ModelRow | undefined}} page */
  constructor(editor, page) {
    this.editor = editor;
    this.page = page;
    element("new").addEventListener("click", () => this.startNew());
    element("refine").addEventListener("click", () => this.toggleRefine());
    element("clear").addEventListener("click", () => this.clear());
    element("look").addEventListener("change", () => this.#again({ look: element("look").value }));
    /** @type {Map<string, HTMLLIElement>} */
    this.rows = new Map();
  }

  /** Shows the present state. */
  show() {
    const doc = this.editor.picture?.doc, active = this.editor.active;
    const items = doc?.items ?? [];
    const ids = new Set(items.map((item) => item.id));
    for (const [id, row] of this.rows) if (!ids.has(id)) { row.remove(); this.rows.delete(id); }
    for (const [k, item] of items.entries()) this.#row(item, k, item === active);
    element("no-objects").hidden = items.length > 0;
    element("new").disabled = !this.editor.picture || !active;
    element("classes").replaceChildren(...[...new Set(this.editor.pictures.flatMap((picture) => picture.doc.items.map((item) => item.label)))].map((label) => Object.assign(document.createElement("option"), { value: label })));
    this.#active(active);
  }

  /** The next prompt makes a new object. */
  startNew() {
    if (this.editor.picture) this.editor.select(null);
  }

  toggleRefine() {
    const item = this.editor.active;
    if (item && this.page.model()?.refinable) this.#again({ refine: !item.refine });
  }

  /** The next way of looking a second time. */
  nextLook() {
    const item = this.editor.active, ways = /** @type {const} */ (["auto", "on", "off"]);
    if (item && !element("look").disabled) this.#again({ look: ways[(ways.indexOf(item.look) + 1) % ways.length] });
  }

  clear() {
    const item = this.editor.active;
    if (item) this.editor.change(item.id, { clicks: [], strokes: [], box: null, lasso: null, mask: null, score: null, candidates: [], edges: null, edited: false, waits: false });
  }

  /** Takes candidate ``k`` of the selected object, or the next one. @param {number} [k] */
  choose(k) {
    const item = this.editor.active;
    if (!item || item.candidates.length < 2) return;
    const next = k ?? (item.chosen + 1) % item.candidates.length, candidate = item.candidates[next];
    if (candidate) this.editor.change(item.id, { mask: candidate.mask, score: candidate.score, chosen: next, edited: false, waits: false });
  }

  /** @param {Item} item @param {number} position @param {boolean} selected */
  #row(item, position, selected) {
    let row = this.rows.get(item.id);
    if (!row) {
      row = this.#makeRow(item.id);
      this.rows.set(item.id, row);
    }
    const list = element("objects");
    if (list.children[position] !== row) list.insertBefore(row, list.children[position] ?? null);
    const [swatch, label, score, eye] = /** @type {any[]} */ ([...row.children]);
    if (document.activeElement !== label) label.value = item.label;
    swatch.value = item.colour;
    label.setAttribute("aria-label", `Class of object ${position + 1}`);
    swatch.setAttribute("aria-label", `Colour of object ${position + 1}`);
    score.textContent = item.edited ? "drawn" : item.score === null ? "" : item.score.toFixed(2);
    score.title = item.edited ? "Changed with the brush" : "The model's own estimate of its overlap (IoU) with the object";
    row.classList.toggle("hidden", item.hidden);
    row.setAttribute("aria-current", String(selected));
    eye.setAttribute("aria-pressed", String(item.hidden));
    eye.firstChild.firstChild.setAttribute("href", item.hidden ? "#i-hidden" : "#i-eye");
  }

  /** @param {string} id */
  #makeRow(id) {
    const row = document.createElement("li"), find = () => /** @type {Item} */ (this.editor.picture?.doc.items.find((item) => item.id === id));
    const swatch = Object.assign(document.createElement("input"), { type: "color" });
    const label = Object.assign(document.createElement("input"), { type: "text", maxLength: 200, spellcheck: false });
    label.setAttribute("list", "classes");
    swatch.addEventListener("change", () => this.editor.change(id, { colour: swatch.value }));
    label.addEventListener("change", () => {
      this.editor.lastLabel = label.value.trim() || "object";
      this.editor.change(id, { label: this.editor.lastLabel });
    });
    label.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === "Escape") element("canvas").focus(); });
    const score = Object.assign(document.createElement("span"), { className: "percent-score" });
    const eye = iconButton("eye", "Hide or show", () => this.editor.change(id, { hidden: !find().hidden }));
    row.append(swatch, label, score, eye, iconButton("trash", "Delete (Delete)", () => this.editor.remove(id)));
    row.addEventListener("click", () => this.editor.select(id));
    label.addEventListener("focus", () => this.editor.select(id));
    return row;
  }

  /** @param {Item | null} item */
  #active(item) {
    element("active").hidden = !item;
    if (!item) return;
    element("score").textContent = item.edited ? "drawn by hand" : item.score === null ? "" : `score ${item.score.toFixed(2)}`;
    const refinable = Boolean(this.page.model()?.refinable);
    element("refine").setAttribute("aria-pressed", String(item.refine));
    element("refine").disabled = !refinable || !isPrompted(item);
    element("look").value = item.look;
    element("look").disabled = !isPrompted(item) || !this.page.model()?.looks_again;
    this.#candidates(item);
  }

  /** @param {Item} item */
  #candidates(item) {
    const box = element("candidates"), shown = item.candidates.slice(0, 4);
    if (shown.length < 2) return box.replaceChildren();
    const layers = shown.map(({ mask }) => layerOf(mask, item.colour));
    const view = around(layers.map(({ bounds }) => bounds), layers[0].canvas);
    box.replaceChildren(...shown.map((candidate, k) => {
      const button = document.createElement("button");
      button.append(this.#thumbnail(layers[k].canvas, view), candidate.score.toFixed(2));
      button.title = `Candidate ${k + 1} (key ${k + 1})`;
      button.setAttribute("aria-label", `Candidate ${k + 1}, score ${candidate.score.toFixed(2)}`);
      button.setAttribute("aria-pressed", String(item.mask?.counts === candidate.mask.counts));
      button.addEventListener("click", () => this.choose(k));
      return button;
    }));
  }

  /** The part of the picture that matters, with a mask over it. @param {HTMLCanvasElement} mask @param {number[]} view  X Y WIDTH HEIGHT in pixels of the mask. */
  #thumbnail(mask, [x, y, width, height]) {
    const canvas = Object.assign(document.createElement("canvas"), { width: 120, height: 96 });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")), bitmap = this.editor.picture?.bitmap;
    const by = bitmap ? bitmap.width / mask.width : 1;
    if (bitmap) context.drawImage(bitmap, x * by, y * by, width * by, height * by, 0, 0, 120, 96);
    context.globalAlpha = 0.6;
    context.drawImage(mask, x, y, width, height, 0, 0, 120, 96);
    return canvas;
  }

  /** Changes a setting of the selected object and asks again. @param {Partial<Item>} change */
  #again(change) {
    const item = this.editor.active;
    if (!item) return;
    this.editor.change(item.id, change);
    this.page.ask(item.id);
  }
}

/** A view of 5 to 4 around all of some bounds, within a canvas where it fits. @param {number[][]} bounds @param {{width: number, height: number}} canvas */
function around(bounds, canvas) {
  const x0 = Math.min(...bounds.map((b) => b[0])), y0 = Math.min(...bounds.map((b) => b[1]));
  const x1 = Math.max(...bounds.map((b) => b[2])), y1 = Math.max(...bounds.map((b) => b[3]));
  const height = 1.15 * Math.max(y1 - y0, (x1 - x0) / 1.25, 8), width = 1.25 * height;
  const place = (/** @type {number} */ middle, /** @type {number} */ size, /** @type {number} */ end) => (size >= end ? (end - size) / 2 : Math.min(Math.max(middle - size / 2, 0), end - size));
  return [place((x0 + x1) / 2, width, canvas.width), place((y0 + y1) / 2, height, canvas.height), width, height];
}
