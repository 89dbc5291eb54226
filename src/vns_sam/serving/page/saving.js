/** Autosave: each step goes to this browser's store, and of a picture of the server's folder to the server too. */

import { json, Refusal } from "./api.js";
import { toAnnotations, workThere } from "./pictures.js";
import { keep } from "./store.js";

/** @typedef {import("./types.js").Picture} Picture @typedef {import("./types.js").Work} Work */

const SOON = 250, LATER = 3000; // milliseconds after a step, and after a save that failed

export class Saver {
  /** @param {import("./ask.js").Asker} asker @param {HTMLElement} line  Where it is told. @param {{failed: (error: unknown, about?: string) => void, settle: (about: string) => void}} page */
  constructor(asker, line, page) {
    this.asker = asker;
    this.line = line;
    this.page = page;
    /** @type {Map<Picture, number>} */
    this.unsaved = new Map();
    /** The last save of each picture that is under way. @type {WeakMap<Picture, Promise<void>>} */
    this.running = new WeakMap();
    /** When the copy that was last sent to the server became what it is, whether or not an answer came. @type {WeakMap<Picture, number>} */
    this.sent = new WeakMap();
  }

  /** Saves a picture once nothing happens for a moment. @param {Picture} picture @param {number} [delay] */
  soon(picture, delay = SOON) {
    if (delay === SOON) this.line.textContent = "Saving";
    clearTimeout(this.unsaved.get(picture));
    this.unsaved.set(picture, setTimeout(() => void this.#save(picture), delay));
  }

  /** Saves all that waits. */
  async all() { await Promise.all([...this.unsaved.keys()].map((picture) => this.#save(picture))); }

  /** Saves after what is being saved. @param {Picture} picture */
  #save(picture) {
    const saved = (this.running.get(picture) ?? Promise.resolve()).then(() => this.#saveNow(picture));
    this.running.set(picture, saved);
    return saved;
  }

  /** Has nothing more to save of a picture; done when what is being saved is. @param {Picture} picture */
  drop(picture) {
    clearTimeout(this.unsaved.get(picture));
    if (this.unsaved.delete(picture)) this.#tell("");
    return this.running.get(picture) ?? Promise.resolve();
  }

  /** Says how saving went where nothing waits any more; what waits has its line. @param {string} text */
  #tell(text) {
    if (this.unsaved.size) return;
    this.line.textContent = text;
    this.page.settle("save");
  }

  /** Tries again later where it fails; never fails itself, since the next save waits for it. @param {Picture} picture */
  async #saveNow(picture) {
    const savedAt = picture.savedAt;
    try {
      const theirs = await this.#put(picture);
      if (theirs) return this.#meet(picture, theirs);
      if (picture.savedAt === savedAt) void this.drop(picture);
      this.#tell("Saved");
    } catch (error) {
      this.line.textContent = "Not saved yet";
      if (!(error instanceof Refusal) || error.status) this.page.failed(error, "save");
      this.soon(picture, LATER);
    }
  }

  /**
   * Puts a picture where it is kept; gives what was made of it elsewhere since, and then nothing is replaced there. Of a picture of the server's folder this browser's copy is tried too, so that one place that is full or away does not keep the work from the other.
   * @param {Picture} picture @returns {Promise<Work | null>}
   */
  async #put(picture) {
    const [here, there] = await Promise.allSettled([keep(picture), picture.served === null ? null : this.#send(picture)]);
    const place = picture.served === null ? here : there;
    if (place.status === "rejected") throw place.reason;
    if (picture.served !== null && !place.value) await keep(picture).catch(() => {}); // with what the folder has now
    return place.value;
  }

  /** @param {Picture} picture @returns {Promise<Work | null>} */
  async #send(picture) {
    const made = toAnnotations(picture), before = this.sent.get(picture);
    const put = () => this.asker.knowing(picture, (id) => json("PUT", `/api/folder/${picture.served}/annotations?picture=${id}&base=${picture.base}`, { json: made }));
    this.sent.set(picture, made.saved_at);
    try {
      await put();
    } catch (error) {
      if (/** @type {any} */ (error).status !== 409) throw error;
      const theirs = await workThere(picture);
      if (theirs.savedAt !== before) return theirs;
      picture.base = theirs.savedAt; // a copy of this page, whose answer was lost
      await put();
    }
    picture.base = made.saved_at;
    return null;
  }

  /** Shows what was made of a picture elsewhere meanwhile. @param {Picture} picture @param {Work} theirs */
  #meet(picture, theirs) {
    void this.drop(picture);
    this.asker.editor.adopt(picture, theirs.doc, theirs.savedAt);
    this.page.failed(new Refusal(409, `${picture.name} was changed in another window meanwhile.`, "That is shown now; undo brings yours back."));
  }
}
