/** Autosave: each step goes to this browser's store, and of a picture of the server's folder to the server too. */

import { json, Refusal } from "./api.js";
import { toAnnotations } from "./pictures.js";
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

  /** @param {Picture} picture */
  async #saveNow(picture) {
    const savedAt = picture.savedAt;
    try {
      await keep(picture);
      if (picture.index !== null) {
        await this.#send(picture).catch((error) => {
          if (error.status !== 404) throw error;
          picture.server = null;
          return this.#send(picture);
        });
      }
      if (picture.savedAt === savedAt) this.unsaved.delete(picture);
      this.line.textContent = this.unsaved.size ? "" : "Saved";
    } catch (error) {
      this.line.textContent = "Not saved yet";
      if (!(error instanceof Refusal) || error.status) this.failed(error);
      this.soon(picture, LATER);
    }
  }

  /** @param {Picture} picture */
  async #send(picture) {
    const path = `/api/folder/${picture.index}/annotations?picture=${await this.asker.upload(picture)}`;
    return json("PUT", path, { json: toAnnotations(picture) });
  }
}
