/** What mouse, pen, finger and keyboard do on the picture. */

import { covers } from "./masks.js";
import { blank, paintLine } from "./paint.js";
import { drawBox, drawLine } from "./view.js";

/** @typedef {import("./types.js").XY} XY @typedef {import("./types.js").Item} Item */
/** @typedef {"click" | "box" | "scribble" | "lasso" | "brush" | "eraser" | "hand"} Tool */

/** @type {{name: Tool, key: string, title: string}[]} */
export const TOOLS = [
  { name: "click", key: "C", title: "Click: object; shift or right button: background" },
  { name: "box", key: "B", title: "Box around an object" },
  { name: "scribble", key: "S", title: "Scribble on the object; shift: on the background" },
  { name: "lasso", key: "L", title: "Lasso around an object" },
  { name: "brush", key: "P", title: "Brush: add pixels" },
  { name: "eraser", key: "E", title: "Eraser: take pixels away" },
  { name: "hand", key: "H", title: "Hand: move the picture (also Space)" },
];

const NEAR = 9; // a click as near as that to another, on the screen, takes it away
const SMALLEST = 4; // a box smaller than that, on the screen, was a click

export class Tools {
  /**
   * @param {import("./view.js").View} view @param {import("./editor.js").Editor} editor
   * @param {{ask: (id: string) => void, moved: (at: XY | null) => void}} page
   */
  constructor(view, editor, page) {
    this.view = view;
    this.editor = editor;
    this.page = page;
    /** @type {Tool} */
    this.tool = "click";
    /** @type {0 | 1} What a click means where no key says otherwise. */
    this.sign = 1;
    this.radius = 12; // of the brush, screen pixels
    this.space = false;
    /** @type {XY | null} The cross hair that arrow keys move. */
    this.cross = null;
    /** @type {XY | null} The first corner of a box made with keys. */
    this.corner = null;
    /** @type {Map<number, XY>} Fingers and pointers that are down, on the screen. */
    this.down = new Map();
    /** @type {{hand?: boolean, move: (at: XY) => void, up: (at: XY) => void, cancel: () => void} | null} */
    this.gesture = null;
    this.#listen(view.canvas);
  }

  /** @param {HTMLCanvasElement} canvas */
  #listen(canvas) {
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#lift(event, false));
    canvas.addEventListener("pointercancel", (event) => this.#lift(event, true));
    canvas.addEventListener("pointerleave", () => { this.page.moved(null); this.#hover(null); });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.shiftKey && !event.ctrlKey) return this.view.pan(-event.deltaY - event.deltaX, 0);
      this.view.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), event.offsetX, event.offsetY);
    }, { passive: false });
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (!this.editor.shown) return;
    this.view.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.cross = null;
    if (this.down.size === 2) {
      this.gesture?.cancel();
      this.gesture = null;
      return;
    }
    if (this.down.size > 2) return;
    const at = this.view.toPicture(event.offsetX, event.offsetY);
    if (event.button === 1 || this.space || this.tool === "hand") { this.gesture = this.#hand(); return; }
    if (event.altKey && this.pick(at)) return;
    const label = /** @type {0 | 1} */ (event.shiftKey || event.button === 2 ? 0 : this.sign);
    this.gesture = this.begin(at, label);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const at = this.view.toPicture(event.offsetX, event.offsetY), before = this.down.get(event.pointerId);
    this.page.moved(at);
    if (!before) return this.#hover(at);
    if (this.down.size === 2) this.#pinch(event, before);
    this.down.set(event.pointerId, [event.offsetX, event.offsetY]);
    for (const part of event.getCoalescedEvents?.() ?? []) {
      if (this.gesture && !this.gesture.hand) this.gesture.move(this.view.toPicture(part.offsetX, part.offsetY));
    }
    if (this.down.size === 1) this.gesture?.move(this.gesture.hand ? [event.offsetX - before[0], event.offsetY - before[1]] : at);
  }

  /** @param {PointerEvent} event @param {boolean} cancelled */
  #lift(event, cancelled) {
    if (!this.down.delete(event.pointerId) || !this.gesture) return;
    const gesture = this.gesture;
    this.gesture = null;
    if (cancelled) gesture.cancel();
    else gesture.up(this.view.toPicture(event.offsetX, event.offsetY));
  }

  /** Two fingers zoom and move. @param {PointerEvent} event @param {XY} before */
  #pinch(event, before) {
    const [, other] = [...this.down].find(([id]) => id !== event.pointerId) ?? [0, /** @type {XY} */ ([0, 0])];
    const now = /** @type {XY} */ ([event.offsetX, event.offsetY]);
    const factor = distance(now, other) / Math.max(1, distance(before, other));
    this.view.zoom(factor, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    this.view.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  }

  /** @returns {any} */
  #hand() {
    let far = 0;
    return {
      hand: true,
      move: (/** @type {XY} */ [dx, dy]) => { far += Math.abs(dx) + Math.abs(dy); this.view.pan(dx, dy); },
      up: (/** @type {XY} */ at) => { if (far < SMALLEST) this.pick(at); },
      cancel: () => {},
    };
  }

  /** Begins what the tool does at a place. @param {XY} at @param {0 | 1} label @returns {any} */
  begin(at, label) {
    if (this.tool === "box") return this.#box(at);
    if (this.tool === "scribble" || this.tool === "lasso") return this.#line(at, label);
    if (this.tool === "brush" || this.tool === "eraser") return this.#brush(at);
    return { move: () => {}, up: () => this.click(at, label), cancel: () => {} };
  }

  /** A click: takes an older one away, selects another object's mask, or asks. @param {XY} at @param {0 | 1} label */
  click(at, label) {
    if (!this.#inside(at)) return;
    const active = this.editor.active;
    const near = active?.clicks.findIndex((click) => distance([click.x, click.y], at) * this.view.scale < NEAR) ?? -1;
    if (active && near >= 0) return this.#step({ clicks: active.clicks.filter((_, k) => k !== near) });
    this.#step({ clicks: [...(active?.clicks ?? []), { x: round(at[0]), y: round(at[1]), label }] });
  }

  /** Selects the topmost object at a place. @param {XY} at */
  pick(at) {
    const hit = this.editor.picture?.doc.items.findLast((item) => item.mask && !item.hidden && covers(item.mask, at[0], at[1]));
    if (hit) this.editor.select(hit.id);
    return Boolean(hit);
  }

  /** @param {XY} from @returns {any} */
  #box(from) {
    let to = from;
    const box = () => this.#clamped([Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])]);
    this.view.overlay = (context, unit) => drawBox(context, box(), this.editor.active?.colour ?? "#00c8ff", unit);
    return {
      move: (/** @type {XY} */ at) => { to = at; this.view.draw(); },
      up: (/** @type {XY} */ at) => {
        to = at;
        this.#clear();
        const [x0, y0, x1, y1] = box();
        if (Math.min(x1 - x0, y1 - y0) * this.view.scale >= SMALLEST) this.#step({ box: [x0, y0, x1, y1] });
      },
      cancel: () => this.#clear(),
    };
  }

  /** A scribble or a lasso. @param {XY} from @param {0 | 1} label @returns {any} */
  #line(from, label) {
    const line = [from], closed = this.tool === "lasso";
    const colour = closed ? this.editor.active?.colour ?? "#00c8ff" : label ? "#28be50" : "#eb323c";
    this.view.overlay = (context, unit) => drawLine(context, line, colour, unit, closed);
    return {
      move: (/** @type {XY} */ at) => {
        if (distance(at, /** @type {XY} */ (line.at(-1))) * this.view.scale > 2) line.push(at);
        this.view.draw();
      },
      up: () => {
        this.#clear();
        const kept = line.filter((at) => this.#inside(at)).map(([x, y]) => /** @type {XY} */ ([round(x), round(y)]));
        if (closed && kept.length > 4) this.#step({ lasso: kept });
        if (!closed && kept.length) this.#step({ strokes: [...(this.editor.active?.strokes ?? []), { label, line: kept }] });
      },
      cancel: () => this.#clear(),
    };
  }

  /** Draws into the mask itself. @param {XY} from @returns {any} */
  #brush(from) {
    const erase = this.tool === "eraser", before = this.editor.active, colour = before?.colour ?? "#00c8ff";
    if (erase && !before?.mask) return { move: () => {}, up: () => {}, cancel: () => {} };
    const line = [from], breadth = (2 * this.radius) / this.view.scale;
    this.view.without = before?.id ?? null;
    this.view.overlay = (screen, unit) => {
      this.view.drawStroke(before?.mask ?? null, colour, line, breadth, erase);
      this.#ring(screen, /** @type {XY} */ (line.at(-1)), unit);
    };
    const move = (/** @type {XY} */ at) => { line.push(at); this.view.draw(); };
    this.view.draw();
    return { move, up: () => this.#painted(line, breadth, erase ? 0 : 1), cancel: () => this.#clear() };
  }

  /** @param {XY[]} line @param {number} breadth @param {0 | 1} value */
  #painted(line, breadth, value) {
    const { width, height } = /** @type {import("./types.js").Picture} */ (this.editor.picture), active = this.editor.active;
    this.#clear();
    const mask = paintLine(active?.mask ?? blank(width, height), line, breadth, value);
    if (active) this.editor.change(active.id, { mask, edited: true, candidates: [], edges: null, waits: false });
    else this.editor.add({ mask, edited: true });
  }

  /** What is asked next, of the selected object or of a new one. @param {Partial<Item>} change */
  #step(change) {
    const active = this.editor.active;
    if (active) this.editor.change(active.id, change);
    const id = active?.id ?? this.editor.add(change).id;
    this.page.ask(id);
  }

  /** Takes the newest prompt of the selected object away. */
  back() {
    const item = this.editor.active;
    if (!item) return;
    if (item.clicks.length) this.#step({ clicks: item.clicks.slice(0, -1) });
    else if (item.strokes.length) this.#step({ strokes: item.strokes.slice(0, -1) });
    else if (item.lasso) this.#step({ lasso: null });
    else if (item.box) this.#step({ box: null });
  }

  /** Moves the cross hair, in steps of the screen. @param {number} dx @param {number} dy */
  steer(dx, dy) {
    const picture = this.editor.shown;
    if (!picture) return;
    const [x, y] = this.cross ?? [picture.width / 2, picture.height / 2];
    this.cross = /** @type {XY} */ (this.#clamped([x + dx / this.view.scale, y + dy / this.view.scale, 0, 0]).slice(0, 2));
    this.page.moved(this.cross);
    this.#hover(this.cross, true);
  }

  /** Does at the cross hair what a click there would do. @param {0 | 1} label */
  strike(label) {
    if (!this.cross || !this.editor.shown) return this.steer(0, 0);
    if (this.tool === "box") {
      if (!this.corner) { this.corner = this.cross; return this.#hover(this.cross, true); }
      const gesture = this.#box(this.corner);
      this.corner = null;
      return gesture.up(this.cross);
    }
    const gesture = this.begin(this.cross, label);
    gesture.move(this.cross);
    gesture.up(this.cross);
    this.#hover(this.cross, true);
  }

  /** Leaves what is half done. */
  leave() {
    this.gesture?.cancel();
    this.gesture = this.corner = null;
    this.#clear();
    if (this.cross) this.#hover(this.cross, true);
  }

  /** Shows where the pointer would act. @param {XY | null} at @param {boolean} [keys] */
  #hover(at, keys = false) {
    if (this.gesture) return;
    const brush = this.tool === "brush" || this.tool === "eraser";
    this.view.overlay = !at || (!brush && !keys) ? null : (context, unit) => {
      if (this.corner && keys) drawBox(context, this.#clamped([Math.min(this.corner[0], at[0]), Math.min(this.corner[1], at[1]), Math.max(this.corner[0], at[0]), Math.max(this.corner[1], at[1])]), "#00c8ff", unit);
      if (brush) this.#ring(context, at, unit);
      if (keys) drawCross(context, at, unit);
    };
    this.view.draw();
  }

  /** @param {CanvasRenderingContext2D} context @param {XY} at @param {number} unit */
  #ring(context, [x, y], unit) {
    context.beginPath();
    context.arc(x, y, this.radius * unit, 0, 2 * Math.PI);
    for (const [style, width] of /** @type {[string, number][]} */ ([["#000000a0", 3], ["#ffffff", 1.4]])) {
      context.strokeStyle = style;
      context.lineWidth = width * unit;
      context.stroke();
    }
  }

  #clear() {
    this.view.overlay = null;
    this.view.without = null;
    this.view.draw();
  }

  /** @param {XY} at */
  #inside([x, y]) {
    const picture = this.editor.picture;
    return Boolean(picture && x >= 0 && y >= 0 && x < picture.width && y < picture.height);
  }

  /** @param {number[]} box */
  #clamped([x0, y0, x1, y1]) {
    const { width, height } = /** @type {import("./types.js").Picture} */ (this.editor.picture);
    const cut = (/** @type {number} */ value, /** @type {number} */ end) => round(Math.min(Math.max(value, 0), end - 0.5));
    return [cut(x0, width), cut(y0, height), cut(x1, width), cut(y1, height)];
  }
}

/** @param {CanvasRenderingContext2D} context @param {XY} at @param {number} unit */
function drawCross(context, [x, y], unit) {
  for (const [style, width] of /** @type {[string, number][]} */ ([["#000000c0", 4], ["#ffffff", 1.6]])) {
    context.strokeStyle = style;
    context.lineWidth = width * unit;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 5 * dx * unit, y + 5 * dy * unit);
      context.lineTo(x + 18 * dx * unit, y + 18 * dy * unit);
    }
    context.stroke();
  }
}

/** @param {XY} a @param {XY} b */
const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
/** To a tenth of a pixel. @param {number} value */
const round = (value) => Math.round(value * 10) / 10;
