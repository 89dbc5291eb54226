/** The dialog that writes masks in the formats of other tools. */

import { json, send } from "./api.js";
import { body, heading } from "./keys.js";
import { itemsOf } from "./pictures.js";

/** @typedef {import("./types.js").Picture} Picture */

export class Exports {
  /** @param {HTMLDialogElement} dialog @param {import("./editor.js").Editor} editor @param {import("./ask.js").Asker} asker @param {(error: unknown) => void} failed */
  constructor(dialog, editor, asker, failed) {
    this.dialog = dialog;
    this.editor = editor;
    this.asker = asker;
    this.failed = failed;
    this.format = "png";
    /** Formats that show the pictures themselves, which the server has to have then. @type {Set<string>} */
    this.showing = new Set();
  }

  /** Opens the dialog. */
  async open() {
    const formats = await json("GET", "/api/formats");
    this.showing = new Set(formats.filter((/** @type {any} */ row) => row.shows_picture).map((/** @type {any} */ row) => row.name));
    const grid = document.createElement("div");
    grid.className = "formats";
    for (const { name, title } of formats) grid.append(this.#choice(name, title));
    const every = Object.assign(document.createElement("input"), { type: "checkbox", checked: this.editor.pictures.length > 1 });
    const label = Object.assign(document.createElement("label"), { className: "check", hidden: this.editor.pictures.length < 2 });
    label.append(every, "All pictures that have objects");
    const save = Object.assign(document.createElement("button"), { className: "primary", textContent: "Download" });
    save.addEventListener("click", () => this.#save(every.checked, save));
    const foot = Object.assign(document.createElement("div"), { className: "foot" });
    foot.append(label, save);
    this.dialog.replaceChildren(heading(this.dialog, "Export"), body(grid, foot));
    this.dialog.showModal();
  }

  /** @param {string} name @param {string} title */
  #choice(name, title) {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "format", value: name, checked: name === this.format });
    radio.addEventListener("change", () => { this.format = name; });
    label.append(radio, Object.assign(document.createElement("b"), { textContent: name }), Object.assign(document.createElement("small"), { textContent: title }));
    return label;
  }

  /** @param {boolean} every @param {HTMLButtonElement} button */
  async #save(every, button) {
    button.disabled = true;
    try {
      const some = every ? this.editor.pictures : /** @type {Picture[]} */ ([this.editor.picture]);
      const response = await this.#ask(some).catch((error) => {
        if (error.status !== 404) throw error;
        for (const picture of some) picture.server = null; // the server has forgotten some of them
        return this.#ask(some);
      });
      const name = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? "masks";
      download(await response.blob(), name);
      this.dialog.close();
    } catch (error) {
      this.dialog.close();
      this.failed(error);
    } finally { button.disabled = false; }
  }

  /** @param {Picture[]} some */
  async #ask(some) {
    const pictures = [];
    for (const picture of some) {
      const row = await this.#row(picture);
      if (row) pictures.push(row);
    }
    return send("POST", "/api/export", { json: { format: this.format, pictures } });
  }

  /** @param {Picture} picture */
  async #row(picture) {
    const objects = (await itemsOf(picture)).filter((item) => item.mask).map(({ label, score, mask }) => ({ label, score, mask }));
    if (!objects.length) return null;
    return { ...(await this.#which(picture, objects)), name: picture.name, objects };
  }

  /** @param {Picture} picture @param {any[]} objects */
  async #which(picture, [{ mask }]) {
    if (picture.served !== null) return { key: picture.served };
    return this.showing.has(this.format) ? { id: await this.asker.upload(picture) } : { size: mask.size };
  }
}

/** @param {Blob} blob @param {string} name */
function download(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
