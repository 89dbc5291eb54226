/** The row of pictures at the foot of the page. */

/** @typedef {import("./types.js").Picture} Picture */

export class Strip {
  /** @param {HTMLElement} element @param {import("./editor.js").Editor} editor @param {(picture: Picture) => void} go */
  constructor(element, editor, go) {
    this.element = element;
    this.editor = editor;
    this.go = go;
    /** @type {Map<string, HTMLButtonElement>} */
    this.buttons = new Map();
  }

  /** Shows the present state. */
  show() {
    const { pictures, picture: current } = this.editor;
    this.element.hidden = pictures.length < 2;
    if (this.element.hidden) return;
    const keys = new Set(pictures.map(({ key }) => key));
    for (const [key, button] of this.buttons) if (!keys.has(key)) { button.remove(); this.buttons.delete(key); }
    for (const picture of pictures) this.#button(picture, picture === current);
  }

  /** @param {Picture} picture @param {boolean} current */
  #button(picture, current) {
    let button = this.buttons.get(picture.key);
    if (!button) {
      button = document.createElement("button");
      button.title = picture.name;
      button.append(Object.assign(document.createElement("span"), { className: "label", textContent: picture.name }), Object.assign(document.createElement("span"), { className: "count" }));
      button.addEventListener("click", () => this.go(picture));
      this.buttons.set(picture.key, button);
      this.element.append(button);
    }
    if (picture.thumbnail && !button.querySelector("img")) {
      button.firstElementChild?.after(Object.assign(document.createElement("img"), { src: picture.thumbnail, alt: "" }));
    }
    const count = /** @type {HTMLElement} */ (button.lastElementChild);
    count.textContent = String(picture.count);
    count.hidden = picture.count === 0;
    button.setAttribute("aria-label", `${picture.name}, ${picture.count} objects`);
    const was = button.getAttribute("aria-current") === "true";
    button.setAttribute("aria-current", String(current));
    if (current && !was) button.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}
