/** "Learn from these": gives what was annotated, looks after the training, and offers the model that comes of it. */

import { json } from "./api.js";
import { body, capital, heading } from "./keys.js";
import { itemsOf, placeOf } from "./pictures.js";

/** @typedef {import("./types.js").Picture} Picture @typedef {import("./types.js").Lesson} Lesson @typedef {import("./types.js").LearnedRow} LearnedRow */
/** @typedef {{failed: (error: unknown) => void, model: () => import("./types.js").ModelRow | undefined, saved: () => Promise<unknown>, use: (name: string) => Promise<void>}} Page */

const EVERY = 1500; // milliseconds between two looks
const MINUTES = [5, 10, 20, 60];
const NAMES = /** @type {Record<string, string>} */ ({ box: "with a box", "points:1": "with one click", iou: "overlap (IoU)", biou: "outline (boundary IoU)" });

export class Lessons {
  /** @param {HTMLDialogElement} dialog @param {HTMLButtonElement} button @param {import("./editor.js").Editor} editor @param {import("./ask.js").Asker} asker @param {Page} page */
  constructor(dialog, button, editor, asker, page) {
    this.dialog = dialog;
    this.button = button;
    this.editor = editor;
    this.asker = asker;
    this.page = page;
    /** @type {Lesson | null} */
    this.lesson = null;
    this.minutes = 10;
    this.timer = 0;
    /** What is shown, so that it is only made anew when it changes. */
    this.shown = "";
  }

  /** Opens the dialog. */
  async open() {
    this.shown = "";
    await this.look();
    if (!this.dialog.open) this.dialog.showModal();
  }

  /** Asks how far the lesson is, and again soon while one runs. */
  async look() {
    clearTimeout(this.timer);
    const before = this.lesson?.state;
    this.#set(await json("GET", "/api/learn"));
    if (this.lesson?.state === "running" || this.lesson?.busy) this.timer = setTimeout(() => void this.look().catch(() => { this.timer = setTimeout(() => void this.look().catch(() => {}), 4 * EVERY); }), EVERY);
    if (before === "running" && this.lesson?.state !== "running" && !this.dialog.open) await this.open();
  }

  /** @param {Lesson} lesson */
  #set(lesson) {
    this.lesson = lesson;
    const running = lesson.state === "running", part = running ? share(lesson) : 0;
    this.button.classList.toggle("working", running);
    this.button.style.setProperty("--part", `${part}%`);
    const label = /** @type {HTMLElement} */ (this.button.querySelector("span"));
    label.textContent = running ? "Learning" : "Learn";
    this.#show();
  }

  #show() {
    const lesson = /** @type {Lesson} */ (this.lesson), { count } = this;
    const key = JSON.stringify([lesson.state, lesson.possible, lesson.busy, lesson.name, lesson.why, count, this.page.model()?.name]);
    if (key !== this.shown) {
      this.dialog.replaceChildren(heading(this.dialog, "Learn from these"), body(...this.#parts(lesson, count)));
      this.shown = key;
    }
    if (lesson.state === "running") this.#progress(lesson);
  }

  /** How many pictures have objects. */
  get count() { return this.editor.pictures.filter((picture) => picture.count).length; }

  /** @param {Lesson} lesson @param {number} count @returns {HTMLElement[]} */
  #parts(lesson, count) {
    if (!lesson.possible) return [text("It cannot be learned on this server."), text(lesson.missing, "muted")];
    if (lesson.state === "running") return this.#running(lesson);
    const outcome = { none: [], stopped: this.#stopped(lesson), failed: this.#failed(lesson), done: this.#done(lesson) }[lesson.state];
    return [...outcome, ...this.#offer(lesson, count)];
  }

  /** @param {Lesson} lesson @param {number} count @returns {HTMLElement[]} */
  #offer(lesson, count) {
    if (lesson.busy) return [text("Somebody else's lesson runs at present; one at a time.", "muted")];
    if (count < lesson.least) {
      const bar = Object.assign(document.createElement("progress"), { max: lesson.least, value: count });
      bar.setAttribute("aria-label", "Annotated pictures");
      const left = lesson.least - count;
      return [text(`A lesson takes ${lesson.least} annotated pictures; there are ${count}.`), bar, text(`Mark the objects of ${left} more picture${left === 1 ? "" : "s"}. A part is held out, to tell whether the new model is better.`, "muted")];
    }
    const model = this.page.model(), start = model?.prompts.length ? model.name : "the default model";
    const choice = document.createElement("select");
    choice.append(...MINUTES.map((value) => Object.assign(document.createElement("option"), { value: String(value), textContent: `${value} minutes`, selected: value === this.minutes })));
    choice.addEventListener("change", () => { this.minutes = Number(choice.value); });
    const label = Object.assign(document.createElement("label"), { className: "field" });
    label.append(Object.assign(document.createElement("span"), { textContent: "Time" }), choice);
    const again = lesson.state !== "none";
    return [
      text(`Adapts ${start} to your ${count} annotated pictures, on this server. A part of them is held out; the new model is only offered where it is better on those.`, again ? "muted" : ""),
      foot(label, button(again ? "Learn anew" : "Start", again ? "quiet" : "primary", (self) => this.#start(self))),
    ];
  }

  /** @param {Lesson} lesson @returns {HTMLElement[]} */
  #running(lesson) {
    const bar = Object.assign(document.createElement("progress"), { max: 100 });
    bar.setAttribute("aria-label", "Progress of the lesson");
    const line = Object.assign(text("", "muted"), { id: "lesson-line" }), said = Object.assign(document.createElement("ul"), { className: "said" });
    return [text(`${lesson.name} learns from your pictures, beginning as ${lesson.start}. Go on marking meanwhile; this goes on too if you close the page.`), bar, line, said, foot(document.createElement("span"), button("Stop", "quiet", (self) => this.#do(self, () => json("DELETE", "/api/learn"))))];
  }

  /** @param {Lesson} lesson */
  #progress(lesson) {
    const bar = this.dialog.querySelector("progress"), line = this.dialog.querySelector("#lesson-line"), said = this.dialog.querySelector(".said");
    if (!bar || !line || !said) return;
    bar.value = share(lesson);
    line.textContent = `${capital(lesson.what)}${lesson.total > 1 ? `, ${lesson.done} of ${lesson.total}` : ""}`;
    if (said.childElementCount !== lesson.said.length) said.replaceChildren(...lesson.said.map((sentence) => Object.assign(document.createElement("li"), { textContent: capital(sentence) })));
  }

  /** @param {Lesson} lesson @returns {HTMLElement[]} */
  #stopped(lesson) {
    const go = button("Go on", "primary", (self) => this.#do(self, () => json("POST", "/api/learn", { json: { go_on: true } })));
    return [text(`${lesson.name} was not finished. ${lesson.why}`), foot(text("It goes on where it was.", "muted"), go)];
  }

  /** @param {Lesson} lesson @returns {HTMLElement[]} */
  #failed(lesson) {
    const told = text(`Nothing was learned: ${lesson.why}.`);
    told.className = "fault";
    return lesson.hint ? [told, text(capital(lesson.hint), "muted")] : [told];
  }

  /** @param {Lesson} lesson @returns {HTMLElement[]} */
  #done(lesson) {
    const better = `${capital(lesson.name)} is better than ${lesson.start} on the pictures that were held out.`;
    const parts = [text(lesson.taken ? better : `${capital(lesson.why)}.`), table(lesson.rows)];
    if (!lesson.taken) return parts;
    const use = button(`Use ${lesson.name}`, "primary", (self) => this.#do(self, async () => {
      await this.page.use(lesson.name);
      this.dialog.close();
      return null;
    }));
    return [...parts, foot(text(`${lesson.name} is in the picker now.`, "muted"), use)];
  }

  /** @param {HTMLButtonElement} self */
  #start(self) {
    return this.#do(self, async () => {
      const model = this.page.model(), order = { model: model?.prompts.length ? model.name : null, minutes: this.minutes };
      await this.page.saved();
      const folder = placeOf(this.editor.pictures);
      if (folder) return json("POST", "/api/learn", { json: { ...order, folder } });
      await json("DELETE", "/api/learn/pictures");
      const pictures = this.editor.pictures.filter((picture) => picture.count);
      for (const [k, picture] of pictures.entries()) {
        self.textContent = `Giving ${k + 1} of ${pictures.length}`;
        await this.#give(picture);
      }
      return json("POST", "/api/learn", { json: order });
    });
  }

  /** @param {Picture} picture */
  async #give(picture) {
    const objects = (await itemsOf(picture)).filter((item) => item.mask).map(({ mask }) => ({ mask }));
    if (!objects.length) return;
    await this.asker.knowing(picture, (id) => json("PUT", `/api/learn/pictures/${id}`, { json: { objects } }));
  }

  /** Does what a button is for, and shows what came of it. @param {HTMLButtonElement} self @param {() => Promise<Lesson | null>} work */
  async #do(self, work) {
    self.disabled = true;
    try {
      const lesson = await work();
      if (lesson) this.#set(lesson);
      this.shown = "";
      await this.look();
    } catch (error) {
      this.dialog.close();
      this.page.failed(error);
    }
  }
}

/** Percent of a whole lesson: each of its parts has a share. @param {Lesson} lesson */
function share({ what, done, total }) {
  const part = what.startsWith("measuring before") ? [8, 18] : what === "training" ? [18, 88] : what.startsWith("measuring after") ? [88, 100] : what === "timing" ? [4, 8] : [0, 4];
  return Math.round(part[0] + (part[1] - part[0]) * (done / Math.max(1, total)));
}

/** @param {LearnedRow[]} rows */
function table(rows) {
  const made = document.createElement("table"), head = made.createTHead().insertRow(), inside = made.createTBody();
  made.className = "scores";
  for (const title of ["Held-out objects", "Before", "After", "Change"]) head.append(Object.assign(document.createElement("th"), { textContent: title, scope: "col" }));
  for (const row of rows) {
    const line = inside.insertRow(), change = row.after - row.before;
    const cells = [`${row.count} ${NAMES[row.prompt] ?? row.prompt}, ${NAMES[row.metric] ?? row.metric}`, row.before.toFixed(3), row.after.toFixed(3), `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(3)}`];
    for (const cell of cells) line.insertCell().textContent = cell;
    line.title = `95 % interval of the change: ${row.low.toFixed(3)} to ${row.high.toFixed(3)}`;
    line.className = !row.certain ? "" : change > 0 ? "better" : "worse";
  }
  return made;
}

/** @param {string} words @param {string} [kind] */
function text(words, kind = "") { return Object.assign(document.createElement("p"), { textContent: words, className: kind }); }

/** @param {string} words @param {string} kind @param {(self: HTMLButtonElement) => void} act */
function button(words, kind, act) {
  const made = Object.assign(document.createElement("button"), { className: kind, textContent: words });
  made.addEventListener("click", () => act(made));
  return made;
}

/** @param {HTMLElement} left @param {HTMLElement} right */
function foot(left, right) {
  const made = Object.assign(document.createElement("div"), { className: "foot" });
  made.append(left, right);
  return made;
}
