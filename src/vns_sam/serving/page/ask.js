/** Asking the model: the newest question of an object replaces the one before, which is hung up on. */

import { json } from "./api.js";
import { paintInside } from "./paint.js";
import { isPrompted } from "./editor.js";

/** @typedef {import("./types.js").Picture} Picture @typedef {import("./types.js").Item} Item @typedef {import("./types.js").XY} XY */
/** @typedef {{controller: AbortController, picture: Picture, asked: Item | null, edgesAlone?: boolean}} Question  What the object was when it was asked about, and whether its mask stays. */

const PER_STROKE = 6; // clicks that stand for a scribble
const MOST_FOUND = 40; // objects that a grid of clicks adds at most
const FIND = "find"; // stands for an object's id while all are looked for
const ASKED = /** @type {const} */ (["clicks", "strokes", "box", "lasso", "mask", "refine", "look"]); // what an answer is of

export class Asker {
  /** @param {import("./editor.js").Editor} editor @param {{model: () => string, row: () => import("./types.js").ModelRow | undefined, wantsEdges: () => boolean, busy: (text: string) => void, done: (text: string) => void, failed: (error: unknown) => void}} page */
  constructor(editor, page) {
    this.editor = editor;
    this.page = page;
    /** What is asked at present, by the object's id. @type {Map<string, Question>} */
    this.running = new Map();
    /** @type {Map<string, Promise<string>>} */
    this.uploads = new Map();
    editor.addEventListener("change", () => this.#leaveOld());
  }

  /** Asks for the edge map of one object of the present picture; its mask stays, unless it is still being asked for or waits. @param {Item} item */
  edges({ id, waits }) { return this.ask(id, this.running.get(id)?.edgesAlone ?? !waits); }

  /** Asks for the mask of one object of the present picture, or for its edge map alone. @param {string} id @param {boolean} [edgesAlone] */
  async ask(id, edgesAlone = false) {
    const picture = this.editor.picture, item = picture && find(picture, id);
    if (!picture || !item) return;
    this.running.get(id)?.controller.abort();
    this.running.delete(id);
    if (!edgesAlone && item.waits !== isPrompted(item)) this.editor.amend(picture, id, { waits: isPrompted(item) });
    if (!isPrompted(item)) return;
    /** @type {Question} */
    const question = { controller: new AbortController(), picture, asked: find(picture, id), edgesAlone }, { signal } = question.controller;
    this.running.set(id, question);
    this.page.busy(picture.server ? "Looking" : "Preparing the picture");
    const start = performance.now();
    try {
      const body = { ...this.#settings(item), objects: [promptsOf(item, picture)] };
      const closer = !edgesAlone && item.look === "auto" && !item.refine && this.page.row()?.looks_again;
      const answer = await this.#post(picture, closer ? { ...body, second_look: "off" } : body, signal);
      if (signal.aborted) return;
      this.#take(question, id, answer.objects[0]);
      if (closer) await this.#closer(question, id, body);
      if (!signal.aborted) this.page.done(timing(answer, performance.now() - start));
    } catch (error) {
      if (!signal.aborted) this.page.failed(error);
    } finally {
      if (this.running.get(id) === question) this.running.delete(id);
    }
  }

  /** The mask is there as soon as the decoder has it; what a second look finds replaces it. @param {Question} question @param {string} id @param {object} body */
  async #closer(question, id, body) {
    this.page.busy("Looking closer");
    const answer = await this.#post(question.picture, body, question.controller.signal), [found] = answer.objects;
    if (!question.controller.signal.aborted && found.rle.counts !== question.asked?.mask?.counts) this.#take(question, id, found);
  }

  /** Puts an answer into its object. @param {Question} question @param {string} id @param {any} found */
  #take(question, id, found) {
    question.asked = null;
    this.editor.amend(question.picture, id, question.edgesAlone ? { edges: found.edges } : changeOf(found));
    question.asked = find(question.picture, id);
  }

  /** Hangs up on questions about objects that have been changed, drawn on or taken away since: an answer replaces no work. */
  #leaveOld() {
    for (const [id, { controller, picture, asked }] of this.running) {
      if (!asked || isAsked(find(picture, id), asked)) continue;
      controller.abort();
      this.running.delete(id);
      if (!this.running.size) this.page.done("");
    }
  }

  /** Hangs up on all that is asked at present, or on what is asked about one picture. @param {Picture} [about] */
  cancel(about) {
    for (const [id, { controller, picture }] of this.running) {
      if (about && picture !== about) continue;
      controller.abort();
      this.running.delete(id);
    }
    this.page.done("");
  }

  /** Hangs up on all that is asked at present, for good. */
  giveUp() {
    for (const [id, { picture }] of [...this.running]) if (find(picture, id)) this.editor.amend(picture, id, { waits: false });
    this.cancel();
  }

  /** Asks about the objects of the present picture whose prompts were never answered. */
  askWaiting() {
    for (const { id, waits } of this.editor.picture?.doc.items ?? []) if (waits && !this.running.has(id)) void this.ask(id);
  }

  /** All that there is: what a model without prompts finds, or what a grid of clicks does. */
  async find() {
    const picture = this.editor.shown, model = this.page.row();
    if (!picture || !model) return;
    this.running.get(FIND)?.controller.abort();
    const controller = new AbortController(), question = { controller, picture, asked: null };
    this.running.set(FIND, question);
    this.page.busy("Finding objects");
    const start = performance.now();
    try {
      const [way, body] = model.prompts.length
        ? ["automatic", { model: model.name, most: MOST_FOUND }]
        : ["masks", { model: model.name, edges: this.page.wantsEdges() }];
      const answer = await this.#post(picture, body, controller.signal, way);
      const count = picture.doc.items.length;
      const items = answer.objects.filter((/** @type {any} */ found) => found.area > 0).map(
        (/** @type {any} */ found, /** @type {number} */ k) => this.editor.fresh(count + k, { label: "object", mask: found.rle, score: found.score, edges: found.edges }));
      if (items.length) this.editor.commit({ items: [...picture.doc.items, ...items], active: items[0].id }, picture);
      this.page.done(items.length ? `${items.length} found · ${timing(answer, performance.now() - start)}` : "Nothing stands out here");
    } catch (error) {
      if (!controller.signal.aborted) this.page.failed(error);
    } finally {
      if (this.running.get(FIND) === question) this.running.delete(FIND);
    }
  }

  /** Encodes a picture before it is asked about; failures wait until it is. @param {Picture} picture @param {boolean} [tell] */
  async prepare(picture, tell = true) {
    if (tell) this.page.busy("Preparing the picture");
    try {
      await this.knowing(picture, (id) => json("POST", `/api/pictures/${id}/encode?model=${encodeURIComponent(this.page.model())}`));
      if (tell && this.editor.picture === picture) this.page.done("Ready");
    } catch (error) { if (tell) this.page.failed(error); }
  }

  /** The picture's id at the server, which is sent the file once. @param {Picture} picture @returns {Promise<string>} */
  upload(picture) {
    if (picture.server) return Promise.resolve(picture.server);
    const known = this.uploads.get(picture.key);
    if (known) return known;
    const sent = (async () => {
      const opened = picture.served === null
        ? await json("POST", `/api/pictures?name=${encodeURIComponent(picture.name.slice(0, 300))}`, { body: /** @type {Blob} */ (picture.blob) })
        : await json("POST", `/api/folder/${picture.served}`);
      picture.server = opened.id;
      return opened.id;
    })().finally(() => this.uploads.delete(picture.key));
    this.uploads.set(picture.key, sent);
    return sent;
  }

  /** @param {Item} item */
  #settings(item) {
    return { model: this.page.model(), candidates: true, edges: this.page.wantsEdges(), refine: item.refine, second_look: item.look };
  }

  /** Does something with the picture's id at the server, once more where the server has forgotten it. @template T @param {Picture} picture @param {(id: string) => Promise<T>} work @returns {Promise<T>} */
  async knowing(picture, work) {
    for (let attempt = 0; ; attempt++) {
      const id = await this.upload(picture);
      try {
        return await work(id);
      } catch (error) {
        if (/** @type {any} */ (error).status !== 404 || attempt) throw error;
        picture.server = null;
      }
    }
  }

  /** @param {Picture} picture @param {object} body @param {AbortSignal} [signal] @param {string} [way] */
  #post(picture, body, signal, way = "masks") {
    return this.knowing(picture, (id) => json("POST", `/api/pictures/${id}/${way}`, { json: body, signal }));
  }
}

/** @param {Picture} picture @param {string} id @returns {Item | null} */
const find = (picture, id) => picture.doc.items.find((item) => item.id === id) ?? null;

/** Whether an object still is what the model was asked about. @param {Item | null} item @param {Item} asked */
const isAsked = (item, asked) => Boolean(item) && ASKED.every((name) => item?.[name] === asked[name]);

/** An object's prompts as the server takes them. @param {Item} item @param {Picture} picture */
export function promptsOf(item, picture) {
  const { width, height } = picture;
  const inside = (/** @type {number} */ value, /** @type {number} */ end) => Math.min(Math.max(value, 0), end - 0.01);
  const whole = (/** @type {number} */ value) => (value < 1 ? 0 : value); // within the first pixel it would be a fraction
  const clicks = [...item.clicks, ...item.strokes.flatMap((stroke) => along(stroke.line).map(([x, y]) => ({ x, y, label: stroke.label })))];
  /** @type {Record<string, unknown>} */
  const prompts = {};
  if (clicks.length) {
    prompts.points = clicks.map(({ x, y }) => [whole(inside(x, width)), whole(inside(y, height))]);
    prompts.labels = clicks.map(({ label }) => label);
  }
  if (item.box) prompts.box = item.box;
  if (item.lasso) {
    const xs = item.lasso.map(([x]) => x), ys = item.lasso.map(([, y]) => y);
    prompts.box = item.box ?? [inside(Math.min(...xs), width), inside(Math.min(...ys), height), inside(Math.max(...xs), width), inside(Math.max(...ys), height)];
    prompts.mask = paintInside(item.lasso, width, height);
  }
  return prompts;
}

/** What an answer changes of its object. @param {any} found @returns {Partial<Item>} */
function changeOf(found) {
  return { mask: found.rle, score: found.score, edges: found.edges, chosen: 0, edited: false, waits: false, candidates: candidatesOf(found) };
}

/** The mask itself first, then the others that the model has. @param {any} found @returns {import("./types.js").Candidate[]} */
function candidatesOf(found) {
  const others = found.candidates.filter((/** @type {any} */ other) => other.rle.counts !== found.rle.counts);
  return [found, ...others].map(({ rle, score }) => ({ mask: rle, score }));
}

/** Points spread evenly along a line. @param {XY[]} line @returns {XY[]} */
function along(line) {
  const step = Math.max(1, (line.length - 1) / (PER_STROKE - 1));
  /** @type {XY[]} */
  const chosen = [];
  for (let at = 0; at < line.length - 0.5; at += step) chosen.push(line[Math.round(at)]);
  return chosen;
}

/** @param {any} answer @param {number} total */
function timing(answer, total) {
  const encode = answer.encode_ms ? ` · encoder ${seconds(answer.encode_ms)}` : "";
  return `${answer.model} · decoder ${seconds(answer.decode_ms)}${encode} · in all ${seconds(total)}`;
}

/** @param {number} ms */
const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
