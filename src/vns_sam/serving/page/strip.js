/** The row of pictures at the foot of the page. */

/** @typedef {import("./types.js").Picture} Picture */

export class Strip {
  /** @param {HTMLElement} element @param {import("./editor.js").Editor} editor @param {(picture: Picture) => void} go @param {(picture: Picture) => Promise<void>} fetch  Gets a small picture. */
  constructor(element, editor, go, fetch) {
    this.element = element;
    this.editor = editor;
    this.go = go;
    /** @type {Map<string, HTMLButtonElement>} */
    this.buttons = new Map();
    this.waiting = Promise.resolve();
    /** Small pictures are fetched one after the other, as they come into sight. */
    this.seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        const picture = isIntersecting && editor.pictures.find(({ key }) => this.buttons.get(key) === target);
        if (!picture) continue;
        this.seen.unobserve(target);
        this.waiting = this.waiting.then(() => fetch(picture)).then(() => this.show()).catch(() => {});
      }
    }, { root: element, rootMargin: "200px" });
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
      button.append(Object.assign(document.createElement("span"), { className: "label", textContent: picture.name.replace(/\.[^.]*$/, "") }), Object.assign(document.createElement("span"), { className: "count" }));
      button.addEventListener("click", () => this.go(picture));
      this.buttons.set(picture.key, button);
      this.element.append(button);
      this.seen.observe(button);
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
