/** What every key does, and the list that shows them. */

import { TOOLS } from "./tools.js";

/** @typedef {import("./keys.js").Binding} Binding */

const LEAST_BRUSH = 1, MOST_BRUSH = 80;

/** All keys. @param {any} page  What they act on, see main.js. @returns {Binding[]} */
export function bindings(page) {
  const { editor, view, tools, panel, element } = page;
  const onCanvas = (/** @type {KeyboardEvent} */ event) => event.target === element("canvas") || event.target === document.body;
  const steer = (/** @type {number} */ dx, /** @type {number} */ dy) => (/** @type {KeyboardEvent} */ event) => {
    const by = event.shiftKey ? 1 : 10;
    tools.steer(dx * by, dy * by);
  };
  const size = (/** @type {number} */ factor) => () => {
    tools.radius = Math.min(MOST_BRUSH, Math.max(LEAST_BRUSH, tools.radius * factor));
    page.showContext();
    view.draw();
  };
  return [
    ...TOOLS.map(({ name, key }) => ({ keys: key.toLowerCase(), act: () => page.use(name) })),
    { keys: "x", act: () => { tools.sign = tools.sign ? 0 : 1; page.showContext(); } },
    { keys: "arrowleft shift+arrowleft", when: onCanvas, act: steer(-1, 0) },
    { keys: "arrowright shift+arrowright", when: onCanvas, act: steer(1, 0) },
    { keys: "arrowup shift+arrowup", when: onCanvas, act: steer(0, -1) },
    { keys: "arrowdown shift+arrowdown", when: onCanvas, act: steer(0, 1) },
    { keys: "enter", when: onCanvas, act: () => tools.strike(tools.sign) },
    { keys: "shift+enter", when: onCanvas, act: () => tools.strike(0) },
    { keys: "escape", act: page.leave },
    { keys: "backspace", act: () => tools.back() },
    { keys: "shift+delete", act: page.remove },
    { keys: "delete", act: () => { if (editor.active) editor.remove(editor.active.id); } },
    { keys: "ctrl+z", act: () => page.travel("undo") },
    { keys: "ctrl+shift+z ctrl+y", act: () => page.travel("redo") },
    { keys: "n", act: () => panel.startNew() },
    { keys: ",", act: () => page.nextObject(1) },
    { keys: "k", act: () => panel.choose() },
    ...[1, 2, 3, 4].map((k) => ({ keys: String(k), act: () => panel.choose(k - 1) })),
    { keys: "r", act: () => panel.toggleRefine() },
    { keys: "t", act: () => panel.nextLook() },
    { keys: "f", act: page.find },
    { keys: "m", act: page.nextModel },
    { keys: "d", act: () => element("objects").querySelector('[aria-current="true"] input[type="text"]')?.select() },
    { keys: "v", act: () => { if (editor.active) editor.change(editor.active.id, { hidden: !editor.active.hidden }); } },
    { keys: "o", act: () => page.toggle("solo") },
    { keys: "w", act: () => page.toggle("outline") },
    { keys: "g", act: () => page.toggle("edges") },
    { keys: "{", act: () => page.opacity(-10) },
    { keys: "}", act: () => page.opacity(10) },
    { keys: "[", act: size(0.8) },
    { keys: "]", act: size(1.25) },
    { keys: "+ =", act: () => view.zoom(1.25) },
    { keys: "-", act: () => view.zoom(0.8) },
    { keys: "0", act: () => view.fit() },
    { keys: "space", when: onCanvas, act: () => { tools.space = true; } },
    { keys: "pageup", act: () => page.step(-1) },
    { keys: "pagedown", act: () => page.step(1) },
    { keys: "ctrl+s", act: page.save },
    { keys: "ctrl+o", act: page.open },
    { keys: "u", act: page.learn },
    { keys: "j", act: page.theme },
    { keys: "?", act: page.keys },
  ];
}

/** The list of keys by what they are for. @type {[string, [string, string][]][]} */
export const LIST = [
  ["Mark", [["C", "Click"], ["B", "Box"], ["S", "Scribble"], ["L", "Lasso"], ["X", "Object or background"], ["Arrows", "Move the cross hair"],
    ["Enter", "Object here"], ["Shift Enter", "Background here"], ["Backspace", "Take the last prompt away"], ["Esc", "Leave what is half done, close a notice"]]],
  ["Correct", [["P", "Brush"], ["E", "Eraser"], ["[ ]", "Brush smaller, larger"], ["K", "Next candidate"], ["1 … 4", "Candidate 1 to 4"],
    ["R", "Refine"], ["T", "Second look"], ["Ctrl Z", "Undo"], ["Ctrl Shift Z", "Redo"]]],
  ["Objects", [["N", "New object"], [",", "Next object"], ["D", "Name the class"], ["V", "Hide or show"], ["Delete", "Delete the object"],
    ["F", "Find objects"], ["M", "Next model"], ["U", "Learn from these"]]],
  ["View", [["+ -", "Zoom"], ["0", "Fit"], ["H", "Hand"], ["Space", "Hold: move the picture"], ["O", "Only the selected"], ["W", "Outline"],
    ["G", "Edge map"], ["{ }", "Masks fainter, stronger"], ["J", "Dark or light"], ["PgUp PgDn", "Previous, next picture"], ["Ctrl O", "Open"], ["Shift Delete", "Remove an opened picture"],
    ["Ctrl S", "Export"], ["?", "This list"]]],
];
