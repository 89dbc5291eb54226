/** The row of pictures at the foot of the page. */

import { iconButton } from "./panel.js";

/** @typedef {import("./types.js").Picture} Picture */

export class Strip {
  /** @param {HTMLElement} element @param {import("./editor.js").Editor} editor @param {{go: (picture: Picture) => void, remove: (picture: Picture) => void, fetch: (picture: Picture) => Promise<void>}} page  `fetch` gets a small picture. */
  constructor(element, editor, page) {
    this.element = element;
    this.editor = editor;
    this.page = page;
    /** @type {Map<string, HTMLElement>} */
    this.places = new Map();
    this.waiting = Promise.resolve();
    /** Small pictures are fetched one after the other, as they come into sight. */
    this.seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        const picture = isIntersecting && editor.pictures.find(({ key }) => this.places.get(key) === target);
        if (!picture) continue;
        this.seen.unobserve(target);
        this.waiting = this.waiting.then(() => page.fetch(picture)).then(() => this.show()).catch(() => {});
      }
    }, { root: element, rootMargin: "200px" });
  }

  /** Shows the present state. */
  show() {
    const { pictures, picture: current } = this.editor;
    this.element.hidden = pictures.length < 2;
    if (this.element.hidden) return;
    const keys = new Set(pictures.map(({ key }) => key));
    for (const [key, place] of this.places) if (!keys.has(key)) { place.remove(); this.places.delete(key); }
    for (const picture of pictures) this.#place(picture, picture === current);
  }

  /** @param {Picture} picture @param {boolean} current */
  #place(picture, current) {
    let place = this.places.get(picture.key);
    if (!place) {
      place = this.#make(picture);
      this.places.set(picture.key, place);
      this.element.append(place);
      this.seen.observe(place);
    }
    const button = /** @type {HTMLElement} */ (place.firstElementChild);
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

  /** @param {Picture} picture */
  #make(picture) {
    const place = Object.assign(document.createElement("span"), { className: "picture" }), button = document.createElement("button");
    button.title = picture.name;
    button.append(Object.assign(document.createElement("span"), { className: "label", textContent: picture.name.replace(/\.[^.]*$/, "") }), Object.assign(document.createElement("span"), { className: "count" }));
    button.addEventListener("click", () => this.page.go(picture));
    place.append(button);
    if (picture.served === null) {
      const remove = iconButton("close", `Remove ${picture.name}`, () => this.page.remove(picture));
      remove.classList.add("remove");
      place.append(remove);
    }
    return place;
  }
}
