/** Every key, what it does, and the list that shows them. */

/** @typedef {{keys: string, title: string, when?: (event: KeyboardEvent) => boolean, act: (event: KeyboardEvent) => void}} Binding */

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

/** Fills the dialog. @param {HTMLDialogElement} dialog @param {[string, string][]} rows  Keys and what they do. */
export function fillList(dialog, rows) {
  const list = document.createElement("div");
  list.className = "keys";
  for (const [keys, title] of rows) {
    const row = document.createElement("div"), text = document.createElement("span"), names = document.createElement("b");
    text.textContent = title;
    for (const key of keys.split(" ")) names.append(Object.assign(document.createElement("kbd"), { textContent: key }), " ");
    row.append(text, names);
    list.append(row);
  }
  dialog.replaceChildren(heading(dialog, "Keys"), body(list));
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

/** The list of keys, in the order of their use. @type {[string, string][]} */
export const LIST = [
  ["C", "Click"], ["B", "Box"], ["S", "Scribble"], ["L", "Lasso"], ["P", "Brush"], ["E", "Eraser"], ["H", "Hand"], ["X", "Object or background"],
  ["Arrows", "Move the cross hair"], ["Enter", "Object here"], ["Shift Enter", "Background here"], ["Backspace", "Take the last prompt away"],
  ["Ctrl Z", "Undo"], ["Ctrl Shift Z", "Redo"], ["N", "New object"], [",", "Next object"], ["Delete", "Delete the object"], ["K", "Next candidate"], ["1 … 4", "Candidate 1 to 4"], ["R", "Refine"],
  ["F", "Find objects"], ["M", "Next model"], ["D", "Name the class"], ["V", "Hide or show"], ["O", "Only the selected"], ["G", "Edge map"],
  ["[ ]", "Brush smaller, larger"], ["+ -", "Zoom"], ["0", "Fit"], ["Space", "Hold: move the picture"], ["PgUp PgDn", "Previous, next picture"], ["Ctrl S", "Export"], ["?", "This list"],
];
