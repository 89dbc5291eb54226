/** The canvas: where the picture lies on the screen, and how picture, masks and prompts are drawn. */

import { Detail } from "./detail.js";
import { layerOf } from "./masks.js";

/** @typedef {import("./types.js").Picture} Picture @typedef {import("./types.js").Item} Item @typedef {import("./types.js").XY} XY */

const LARGEST_SCALE = 40;

export class View {
  /** @param {HTMLCanvasElement} canvas @param {import("./editor.js").Editor} editor */
  constructor(canvas, editor) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.editor = editor;
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.opacity = 0.45;
    this.outline = true;
    this.edges = false;
    this.solo = false;
    /** @type {((context: CanvasRenderingContext2D, unit: number) => void) | null} What the tool in use draws on top. */
    this.overlay = null;
    /** @type {string | null} An object whose mask the tool draws itself. */
    this.without = null;
    /** @type {WeakMap<object, HTMLImageElement>} */
    this.edgeMaps = new WeakMap();
    this.detail = new Detail(this);
    this.sheet = document.createElement("canvas");
    this.pending = false;
    this.fitted = true;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  /** Screen pixels of the canvas. */
  get size() { return { width: this.canvas.clientWidth, height: this.canvas.clientHeight }; }

  resize() {
    const ratio = devicePixelRatio || 1, { width, height } = this.size;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    if (this.fitted) this.fit();
    this.draw();
  }

  /** Shows all of the picture. */
  fit() {
    const picture = this.editor.picture;
    if (!picture?.width) return;
    const { width, height } = this.size, margin = Math.min(64, width / 12);
    this.scale = Math.min((width - margin) / picture.width, (height - 2 * margin) / picture.height);
    this.scale = Math.max(0.001, Math.min(this.scale, 8));
    this.left = (width - picture.width * this.scale) / 2;
    this.top = (height - picture.height * this.scale) / 2;
    this.fitted = true;
    this.changed();
  }

  /** Zooms about a place on the screen. @param {number} factor @param {number} [x] @param {number} [y] */
  zoom(factor, x = this.size.width / 2, y = this.size.height / 2) {
    const scale = Math.max(0.01, Math.min(LARGEST_SCALE, this.scale * factor)), by = scale / this.scale;
    this.left = x - (x - this.left) * by;
    this.top = y - (y - this.top) * by;
    this.scale = scale;
    this.fitted = false;
    this.changed();
  }

  /** @param {number} dx @param {number} dy */
  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.fitted = false;
    this.changed();
  }

  /** From the screen to the picture. @param {number} x @param {number} y @returns {XY} */
  toPicture(x, y) { return [(x - this.left) / this.scale, (y - this.top) / this.scale]; }

  changed() {
    this.canvas.dispatchEvent(new Event("viewchange"));
    this.detail.want();
    this.draw();
  }

  /** Draws with the next frame. */
  draw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.#paint();
    });
  }

  #paint() {
    const { context } = this, ratio = devicePixelRatio || 1, picture = this.editor.picture;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!picture?.bitmap) return;
    context.setTransform(this.scale * ratio, 0, 0, this.scale * ratio, this.left * ratio, this.top * ratio);
    const unit = 1 / this.scale;
    context.imageSmoothingEnabled = this.scale < 3;
    context.imageSmoothingQuality = "high";
    context.drawImage(picture.bitmap, 0, 0, picture.width, picture.height);
    this.detail.draw(context);
    const active = this.editor.active;
    const shown = picture.doc.items.filter((item) => item.mask && item.id !== this.without && (this.solo ? item === active : !item.hidden));
    for (const item of shown) this.#mask(item, picture, item === active);
    if (this.edges && active?.edges) this.#edgeMap(active.edges, picture);
    if (active && !active.hidden) this.#prompts(active, unit);
    this.overlay?.(context, unit);
  }

  /** @param {Item} item @param {Picture} picture @param {boolean} selected */
  #mask(item, picture, selected) {
    const { context } = this, layer = layerOf(/** @type {any} */ (item.mask), item.colour);
    context.imageSmoothingEnabled = false;
    context.globalAlpha = this.opacity;
    context.drawImage(layer.canvas, 0, 0, picture.width, picture.height);
    context.globalAlpha = 1;
    if (!this.outline) return;
    const unit = 1 / this.scale;
    context.lineCap = "square";
    context.strokeStyle = "#0b0d10b0";
    context.lineWidth = (selected ? 4.2 : 3) * unit;
    context.stroke(layer.outline);
    context.strokeStyle = item.colour;
    context.lineWidth = (selected ? 2.2 : 1.3) * unit;
    context.stroke(layer.outline);
  }

  /** A mask while a brush changes it. @param {import("./types.js").Rle | null} mask @param {string} colour @param {XY[]} line @param {number} breadth @param {boolean} erase */
  drawStroke(mask, colour, line, breadth, erase) {
    const picture = /** @type {Picture} */ (this.editor.picture), sheet = this.sheet;
    sheet.width = this.canvas.width;
    sheet.height = this.canvas.height;
    const context = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d"));
    context.setTransform(this.context.getTransform());
    context.imageSmoothingEnabled = false;
    if (mask) context.drawImage(layerOf(mask, colour).canvas, 0, 0, picture.width, picture.height);
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.strokeStyle = colour;
    context.lineWidth = breadth;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    for (const [x, y] of line) context.lineTo(x, y);
    context.lineTo(line[line.length - 1][0] + 0.001, line[line.length - 1][1]);
    context.stroke();
    this.context.save();
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.globalAlpha = Math.max(0.3, this.opacity);
    this.context.drawImage(sheet, 0, 0);
    this.context.restore();
  }

  /** @param {string} png @param {Picture} picture */
  #edgeMap(png, picture) {
    const holder = /** @type {any} */ (this.editor.active);
    let image = this.edgeMaps.get(holder);
    if (!image) {
      image = new Image();
      image.onload = () => this.draw();
      image.src = `data:image/png;base64,${png}`;
      this.edgeMaps.set(holder, image);
    }
    if (!image.complete) return;
    this.context.imageSmoothingEnabled = true;
    this.context.globalCompositeOperation = "screen";
    this.context.drawImage(image, 0, 0, picture.width, picture.height);
    this.context.globalCompositeOperation = "source-over";
  }

  /** @param {Item} item @param {number} unit */
  #prompts(item, unit) {
    const { context } = this;
    if (item.box) drawBox(context, item.box, item.colour, unit);
    if (item.lasso) drawLine(context, item.lasso, item.colour, unit, true);
    for (const stroke of item.strokes) drawLine(context, stroke.line, stroke.label ? "#28be50" : "#eb323c", unit, false);
    for (const click of item.clicks) drawClick(context, click, unit);
  }
}

/** @param {CanvasRenderingContext2D} context @param {number[]} box @param {string} colour @param {number} unit */
export function drawBox(context, [x0, y0, x1, y1], colour, unit) {
  context.lineJoin = "miter";
  for (const [style, width, dash] of /** @type {[string, number, number[]][]} */ ([["#0b0d10c0", 3.5, []], [colour, 1.6, [6, 4]]])) {
    context.strokeStyle = style;
    context.lineWidth = width * unit;
    context.setLineDash(dash.map((length) => length * unit));
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
  context.setLineDash([]);
}

/** @param {CanvasRenderingContext2D} context @param {XY[]} line @param {string} colour @param {number} unit @param {boolean} closed */
export function drawLine(context, line, colour, unit, closed) {
  context.lineJoin = context.lineCap = "round";
  context.beginPath();
  line.forEach(([x, y]) => context.lineTo(x, y));
  if (closed) context.closePath();
  for (const [style, width] of /** @type {[string, number][]} */ ([["#ffffffd0", closed ? 3 : 6], [colour, closed ? 1.6 : 4]])) {
    context.strokeStyle = style;
    context.lineWidth = width * unit;
    context.stroke();
  }
}

/** A disc with a plus or a minus: told apart without colour too. @param {CanvasRenderingContext2D} context @param {import("./types.js").Click} click @param {number} unit */
export function drawClick(context, { x, y, label }, unit) {
  const disc = (/** @type {number} */ radius, /** @type {string} */ style) => {
    context.beginPath();
    context.arc(x, y, radius * unit, 0, 2 * Math.PI);
    context.fillStyle = style;
    context.fill();
  };
  disc(9, "#0b0d1080");
  disc(8, "#ffffff");
  disc(6.4, label ? "#20a648" : "#e02f3a");
  context.strokeStyle = "#ffffff";
  context.lineWidth = 1.8 * unit;
  context.lineCap = "round";
  context.beginPath();
  context.moveTo(x - 3.2 * unit, y);
  context.lineTo(x + 3.2 * unit, y);
  if (label) { context.moveTo(x, y - 3.2 * unit); context.lineTo(x, y + 3.2 * unit); }
  context.stroke();
}
