/** The part of a large picture that is looked at closely, at its own pixels: the server cuts it out. */

import { send } from "./api.js";

/** @typedef {import("./types.js").Picture} Picture */

const PATIENCE = 180; // milliseconds in which the view has to rest
const MARGIN = 0.15; // of the view that is fetched beyond it
const LARGEST = 4096; // side of what is fetched

export class Detail {
  /** @param {import("./view.js").View} view */
  constructor(view) {
    this.view = view;
    /** @type {{picture: Picture, bitmap: ImageBitmap, box: number[]} | null} */
    this.shown = null;
    /** @type {AbortController | null} */
    this.running = null;
    this.timer = 0;
  }

  /** Tells that another part is looked at. */
  want() {
    clearTimeout(this.timer);
    this.running?.abort();
    this.timer = setTimeout(() => void this.#fetch().catch(() => {}), PATIENCE);
  }

  /** Draws it where it lies. @param {CanvasRenderingContext2D} context */
  draw(context) {
    const { shown } = this;
    if (!shown || shown.picture !== this.view.editor.picture) return;
    const [x0, y0, x1, y1] = shown.box;
    context.drawImage(shown.bitmap, x0, y0, x1 - x0, y1 - y0);
  }

  async #fetch() {
    const { view } = this, picture = view.editor.picture;
    if (!picture?.bitmap || !picture.server) return;
    const ratio = devicePixelRatio || 1, has = picture.bitmap.width / picture.width;
    if (has >= 1 || view.scale * ratio <= has * 1.05) { this.#drop(); return; }
    const box = this.#box(picture);
    if (this.shown?.picture === picture && this.shown.box.join() === box.join()) return;
    this.running = new AbortController();
    const side = Math.max(16, Math.min(LARGEST, Math.ceil(Math.max(box[2] - box[0], box[3] - box[1]) * Math.min(1, view.scale * ratio))));
    const response = await send("GET", `/api/pictures/${picture.server}/preview?side=${side}&box=${box.join("&box=")}`, { signal: this.running.signal });
    const bitmap = await createImageBitmap(await response.blob());
    if (view.editor.picture !== picture) return bitmap.close();
    this.#drop();
    this.shown = { picture, bitmap, box };
    view.draw();
  }

  #drop() {
    this.shown?.bitmap.close();
    this.shown = null;
  }

  /** What is on the screen and a little more, in whole pixels. @param {Picture} picture */
  #box({ width, height }) {
    const { view } = this, more = MARGIN * Math.max(view.size.width, view.size.height);
    const [x0, y0] = view.toPicture(-more, -more), [x1, y1] = view.toPicture(view.size.width + more, view.size.height + more);
    const inside = (/** @type {number} */ value, /** @type {number} */ end) => Math.min(Math.max(value, 0), end);
    return [inside(Math.floor(x0), width - 1), inside(Math.floor(y0), height - 1), inside(Math.ceil(x1), width), inside(Math.ceil(y1), height)];
  }
}
