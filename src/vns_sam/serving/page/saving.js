/** Autosave: each step goes to this browser's store, and of a picture of the server's folder to the server too. */

import { json, Refusal } from "./api.js";
import { toAnnotations, workThere } from "./pictures.js";
import { keep } from "./store.js";

/** @typedef {import("./types.js").Picture} Picture */

const SOON = 250, LATER = 3000; // milliseconds after a step, and after a save that failed

export class Saver {
  /** @param {import("./ask.js").Asker} asker @param {HTMLElement} line  Where it is told. @param {(error: unknown) => void} failed */
  constructor(asker, line, failed) {
    this.asker = asker;
    this.line = line;
    this.failed = failed;
    /** @type {Map<Picture, number>} */
    this.unsaved = new Map();
    /** The last save of each picture that is under way. @type {WeakMap<Picture, Promise<void>>} */
    this.running = new WeakMap();
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

  /** Saves nothing more of a picture; done when what is being saved is. @param {Picture} picture */
  drop(picture) {
    clearTimeout(this.unsaved.get(picture));
    this.unsaved.delete(picture);
    return this.running.get(picture) ?? Promise.resolve();
  }

  /** Both places are tried, so that one that is full or away does not keep the work from the other. @param {Picture} picture */
  async #saveNow(picture) {
    const savedAt = picture.savedAt;
    const [here, there] = await Promise.allSettled([keep(picture), picture.index === null ? null : this.#send(picture)]);
    const place = picture.index === null ? here : there;
    if (place.status === "rejected") {
      if (place.reason.status === 409) return this.#meet(picture, await workThere(picture));
      this.line.textContent = "Not saved yet";
      if (!(place.reason instanceof Refusal) || place.reason.status) this.failed(place.reason);
      return this.soon(picture, LATER);
    }
    if (picture.index === null && place.value) return this.#meet(picture, place.value);
    if (picture.savedAt === savedAt) void this.drop(picture);
    this.line.textContent = this.unsaved.size ? "" : "Saved";
  }

  /** Shows what was made of a picture elsewhere meanwhile. @param {Picture} picture @param {{doc: import("./types.js").Doc, savedAt: number}} theirs */
  #meet(picture, theirs) {
    void this.drop(picture);
    this.asker.editor.adopt(picture, theirs.doc, theirs.savedAt);
    this.line.textContent = "";
    this.failed(new Refusal(409, `${picture.name} was changed in another window meanwhile.`, "That is shown now; undo brings yours back."));
  }

  /** @param {Picture} picture */
  async #send(picture) {
    const made = toAnnotations(picture), base = picture.base;
    await this.asker.knowing(picture, (id) => json("PUT", `/api/folder/${picture.index}/annotations?picture=${id}&base=${base}`, { json: made }));
    picture.base = made.saved_at;
  }
}
