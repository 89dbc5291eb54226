/** The state of the page: pictures, their objects, and undo for all of it. Emits "change" after each step. */

/** @typedef {import("./types.js").Picture} Picture @typedef {import("./types.js").Item} Item @typedef {import("./types.js").Doc} Doc */

export const PALETTE = ["#00c8ff", "#ffb000", "#dc50ff", "#78e63c", "#ff5a6e", "#5a82ff", "#00dca0", "#ff78d2"];

/** @returns {Doc} */
export const emptyDoc = () => ({ items: [], active: null });

/** A picture without objects. @param {Partial<Picture> & {key: string, name: string}} given @returns {Picture} */
export function makePicture(given) {
  return {
    width: 0, height: 0, blob: null, served: null, server: null, doc: emptyDoc(), past: [], future: [], savedAt: 0, base: 0, place: "", removed: false,
    count: 0, bitmap: null, thumbnail: null, ...given,
  };
}

/** Whether an object has anything that the model can be asked with. @param {Item} item */
export const isPrompted = (item) => Boolean(item.box || item.lasso || item.clicks.length || item.strokes.length);

export class Editor extends EventTarget {
  constructor() {
    super();
    /** @type {Picture[]} */
    this.pictures = [];
    /** @type {Picture | null} */
    this.picture = null;
    this.lastLabel = "object";
  }

  /** @returns {Picture | null} The present picture once it is on the screen: before that nothing can be done on it. */
  get shown() { return this.picture?.bitmap ? this.picture : null; }

  /** @returns {Item | null} The selected object. */
  get active() {
    const doc = this.picture?.doc;
    return doc?.items.find((item) => item.id === doc.active) ?? null;
  }

  /** Takes a step that undo takes back. @param {Doc} doc @param {Picture} [picture] */
  commit(doc, picture = this.#current()) {
    picture.past.push(picture.doc);
    if (picture.past.length > 400) picture.past.shift();
    picture.future = [];
    this.#set(picture, doc);
  }

  /** Completes the present step, as an answer of the model does. @param {Picture} picture @param {string} id @param {Partial<Item>} change */
  amend(picture, id, change) {
    const items = picture.doc.items.map((item) => (item.id === id ? { ...item, ...change } : item));
    this.#set(picture, { ...picture.doc, items });
  }

  /** Changes one object as a step. @param {string} id @param {Partial<Item>} change */
  change(id, change) {
    const { doc } = this.#current();
    this.commit({ ...doc, items: doc.items.map((item) => (item.id === id ? { ...item, ...change } : item)) });
  }

  /** Selects an object, which is no step. @param {string | null} id */
  select(id) {
    const picture = this.#current();
    this.#set(picture, { ...picture.doc, active: id }, false);
  }

  /** A new object, selected. @param {Partial<Item>} [given] @returns {Item} */
  add(given = {}) {
    const { doc } = this.#current();
    const item = this.fresh(doc.items.length, given);
    this.commit({ items: [...doc.items, item], active: item.id });
    return item;
  }

  /** An object that is not yet part of the picture. @param {number} number @param {Partial<Item>} given @returns {Item} */
  fresh(number, given = {}) {
    return {
      id: crypto.randomUUID?.() ?? String(Math.random()), label: this.lastLabel, colour: PALETTE[number % PALETTE.length], clicks: [],
      strokes: [], box: null, lasso: null, mask: null, score: null, candidates: [], chosen: 0, edges: null,
      edited: false, hidden: false, refine: false, look: "auto", waits: false, ...given,
    };
  }

  /** @param {string} id */
  remove(id) {
    const { doc } = this.#current();
    const items = doc.items.filter((item) => item.id !== id);
    this.commit({ items, active: doc.active === id ? (items.at(-1)?.id ?? null) : doc.active });
  }

  /** Takes what was made of a picture elsewhere; undo brings back what was here. @param {Picture} picture @param {Doc} doc @param {number} savedAt */
  adopt(picture, doc, savedAt) {
    picture.past.push(picture.doc);
    picture.future = [];
    picture.savedAt = picture.base = savedAt;
    this.#set(picture, doc, false);
  }

  undo() { this.#travel("past", "future"); }
  redo() { this.#travel("future", "past"); }

  /** Tells everyone to look again. @param {Picture} [picture]  One that has something to save. */
  emit(picture) { this.dispatchEvent(new CustomEvent("change", { detail: { dirty: Boolean(picture), picture } })); }

  /** @param {"past" | "future"} from @param {"past" | "future"} to */
  #travel(from, to) {
    const picture = this.picture, doc = picture?.[from].pop();
    if (!picture || !doc) return;
    picture[to].push(picture.doc);
    this.#set(picture, doc);
  }

  /** @param {Picture} picture @param {Doc} doc @param {boolean} [dirty] */
  #set(picture, doc, dirty = true) {
    picture.doc = doc;
    picture.count = doc.items.length;
    if (dirty) picture.savedAt = Math.max(Date.now(), picture.savedAt + 1);
    this.dispatchEvent(new CustomEvent("change", { detail: { dirty, picture } }));
  }

  /** @returns {Picture} */
  #current() {
    if (!this.picture) throw new Error("no picture is open");
    return this.picture;
  }
}
