/** What the page says: what happens, what went wrong and what to try, and that it wants a key. */

import { Refusal, setKey } from "./api.js";
import { body, capital, heading } from "./keys.js";
import { icon } from "./panel.js";

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** What happens at present, at the foot of the picture. @param {string} text @param {boolean} [busy] */
export function status(text, busy = false) {
  const line = element("status");
  line.replaceChildren(...(busy ? [Object.assign(document.createElement("i"), { className: "spin" })] : []), text);
  line.dataset.busy = String(busy);
}

/** What the present notice is about. @type {string | undefined} */
let subject;

/** What went wrong, and what to try, over the picture: until it is closed, or what it is about goes well. @param {unknown} error @param {string} [about] */
export function failed(error, about) {
  status("");
  if (error instanceof Refusal && error.status === 401) return askKey();
  const { message, hint } = /** @type {Refusal} */ (error);
  const text = document.createElement("div");
  text.append(Object.assign(document.createElement("b"), { textContent: capital(message) }), Object.assign(document.createElement("span"), { textContent: capital(hint ?? "") }));
  const close = Object.assign(document.createElement("button"), { className: "icon", title: "Close" });
  close.setAttribute("aria-label", "Close");
  close.append(icon("close"));
  close.addEventListener("click", () => settle());
  element("notice").replaceChildren(text, close);
  element("notice").hidden = false;
  subject = about;
}

/** Takes the notice away, or the one about what goes well now alone. @param {string} [about] */
export function settle(about) { if (!about || about === subject) element("notice").hidden = true; }

function askKey() {
  const dialog = element("ask-key");
  if (dialog.open) return; // somebody types
  const input = Object.assign(document.createElement("input"), { type: "password", autocomplete: "current-password" });
  input.setAttribute("aria-label", "API key");
  const form = Object.assign(document.createElement("form"), { method: "dialog", className: "row" });
  form.append(input, Object.assign(document.createElement("button"), { className: "primary", textContent: "Go on" }));
  form.addEventListener("submit", () => { setKey(input.value); location.reload(); });
  dialog.replaceChildren(heading(dialog, "This server wants a key"), body(form));
  dialog.showModal();
}
