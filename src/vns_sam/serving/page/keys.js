/** How keys are heard and shown; dialogs' first lines. */

/** @typedef {{keys: string, when?: (event: KeyboardEvent) => boolean, act: (event: KeyboardEvent) => void}} Binding */

/** Whether keys belong to a field at present. @param {EventTarget | null} target */
const isTyping = (target) => target instanceof HTMLInputElement && /text|search|number/.test(target.type);

/** Listens. @param {Binding[]} bindings */
export function listen(bindings) {
  addEventListener("keydown", (event) => {
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const name = nameOf(event);
    const found = bindings.find((binding) => binding.keys.split(" ").includes(name) && (binding.when?.(event) ?? true));
    if (!found) return;
    event.preventDefault();
    found.act(event);
  });
}

/** A key as the bindings write it, such as "ctrl+shift+z". @param {KeyboardEvent} event */
function nameOf(event) {
  const key = event.key === " " ? "space" : event.key.toLowerCase();
  const letter = key.length === 1 && !/[a-z0-9]/.test(key); // signs have their shift in them
  return `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${event.altKey ? "alt+" : ""}${event.shiftKey && !letter ? "shift+" : ""}${key}`;
}

/** Fills the dialog. @param {HTMLDialogElement} dialog @param {[string, [string, string][]][]} groups  A title, and keys with what they do. */
export function fillList(dialog, groups) {
  const list = document.createElement("div");
  list.className = "keys";
  for (const [title, rows] of groups) {
    const group = document.createElement("section"), name = document.createElement("h3");
    name.textContent = title;
    group.append(name, ...rows.map(([keys, what]) => row(keys, what)));
    list.append(group);
  }
  dialog.replaceChildren(heading(dialog, "Keys"), body(list));
}

/** @param {string} keys @param {string} what */
function row(keys, what) {
  const line = document.createElement("div"), text = document.createElement("span"), names = document.createElement("b");
  text.textContent = what;
  for (const key of keys.split(" ")) names.append(Object.assign(document.createElement("kbd"), { textContent: key }), " ");
  line.append(text, names);
  return line;
}

/** A dialog's first line with its closing button. @param {HTMLDialogElement} dialog @param {string} title */
export function heading(dialog, title) {
  const head = document.createElement("div"), text = document.createElement("h2"), close = document.createElement("button");
  head.className = "head";
  text.textContent = title;
  text.id = dialog.getAttribute("aria-labelledby") ?? "";
  close.className = "quiet small";
  close.textContent = "Close";
  close.addEventListener("click", () => dialog.close());
  head.append(text, close);
  return head;
}

/** @param {...HTMLElement} parts */
export function body(...parts) {
  const box = document.createElement("div");
  box.className = "body";
  box.append(...parts);
  return box;
}

/** A sentence as one begins it. @param {string} words */
export const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);
