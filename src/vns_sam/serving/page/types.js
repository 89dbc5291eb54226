/**
 * What travels between the modules of the page. Coordinates are pixels of the original picture.
 *
 * @typedef {[number, number]} XY
 * @typedef {{size: [number, number], counts: string}} Rle  A mask as COCO stores it: height and width, run lengths.
 * @typedef {{x: number, y: number, label: 0 | 1}} Click
 * @typedef {{label: 0 | 1, line: XY[]}} Stroke
 * @typedef {{mask: Rle, score: number}} Candidate
 *
 * @typedef {object} Item  One object of a picture; never changed, only replaced.
 * @property {string} id
 * @property {string} label  Its class.
 * @property {string} colour  As #rrggbb.
 * @property {Click[]} clicks
 * @property {Stroke[]} strokes
 * @property {number[] | null} box  X0 Y0 X1 Y1.
 * @property {XY[] | null} lasso
 * @property {Rle | null} mask
 * @property {number | null} score
 * @property {Candidate[]} candidates
 * @property {number} chosen  Index of the candidate in use.
 * @property {string | null} edges  The edge map, a PNG in base64.
 * @property {boolean} edited  Whether brush or eraser touched the mask.
 * @property {boolean} hidden
 * @property {boolean} refine
 * @property {"auto" | "on" | "off"} look  The second look.
 * @property {boolean} waits  Whether the model has not answered its prompts yet: the mask, if any, is of earlier ones.
 *
 * @typedef {{items: Item[], active: string | null}} Doc  All that undo brings back.
 * @typedef {{doc: Doc, savedAt: number}} Work  What was made of a picture, and when it became so.
 *
 * @typedef {object} Picture
 * @property {string} key  Its name in this browser's store.
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {Blob | null} blob  The file; null for pictures of the server's folder.
 * @property {string | null} served  What the server calls it in that folder.
 * @property {string | null} server  Its id at the server, while that knows it.
 * @property {Doc} doc
 * @property {Doc[]} past
 * @property {Doc[]} future
 * @property {number} savedAt  When it became what it is, milliseconds since 1970; each step has a later one.
 * @property {number} base  `savedAt` of the copy at the place that it is kept at, as far as this page knows: of its file here, of the server's folder there.
 * @property {boolean} removed  Whether it was taken out of this browser: nothing of it is kept any more.
 * @property {string} place  Key of the server's folder beside which its file was opened, or "".
 * @property {number} count  Objects, for pictures that were not opened yet.
 * @property {ImageBitmap | null} bitmap  For the screen, reduced where it is large.
 * @property {string | null} thumbnail  An address of a small picture.
 *
 * @typedef {{prompt: string, metric: string, count: number, before: number, after: number, low: number, high: number, certain: boolean}} LearnedRow
 * @typedef {object} Lesson  The server's LearnState.
 * @property {boolean} possible
 * @property {string} missing
 * @property {number} least  Pictures that it takes.
 * @property {boolean} busy  Whether one runs, of anybody.
 * @property {"none" | "running" | "stopped" | "failed" | "done"} state
 * @property {string} name
 * @property {string} start
 * @property {string} what
 * @property {number} done
 * @property {number} total
 * @property {string[]} said
 * @property {string} why
 * @property {string} hint
 * @property {boolean} taken
 * @property {LearnedRow[]} rows
 *
 * @typedef {{name: string, prompts: string[], candidates: number, edges: boolean, refinable: boolean, looks_again: boolean, adapted_from: string}} ModelRow
 */
export {};
