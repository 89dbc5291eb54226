// The page: a picture, what is asked about it, and the mask. What is asked last is answered; what it supersedes is not.

const at = (id) => /** @type {any} */ (document.getElementById(id));
const [status, stage, hint, board] = ['status', 'stage', 'hint', 'board'].map(at);
const [picture, mask, marks] = ['picture', 'mask', 'marks'].map(at);
const COLOUR = [64, 200, 130];
const FAILED = { open: 'The model cannot be opened', encode: 'The model cannot look at this picture', decode: 'The model cannot answer' };

const worker = new Worker('./worker.js', { type: 'module' });
const waiting = new Map();
let number = 0;
worker.onmessage = ({ data: { id, answer, error } }) => {
  const { resolve, fail } = waiting.get(id);
  waiting.delete(id);
  if (error) fail(error);
  else resolve(answer);
};
worker.onerror = (event) => { // nothing more is answered
  for (const { fail } of waiting.values()) fail(event.message ?? 'serve this folder over http');
};

/** Asks the worker. An error says what failed, for people. */
function ask(task, asked = {}) {
  const id = ++number;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, fail: (why) => reject(new Error(`${FAILED[task]}: ${why}`)) });
    worker.postMessage({ id, task, asked });
  });
}

/** @type {{box: number[] | null, points: number[][], labels: number[]}[]} One prompt for each step; the last counts. */
let steps = [];
let answer = null, chosen = 0, name = 'picture', ready = false, busy = false, stale = false, drag = null;
/** How many files were given, and which of them is shown: what comes late of another is left. */
let given = 0, shown = 0;

function tell(text) {
  status.textContent = text;
}

function refresh() {
  at('undo').disabled = !steps.length;
  at('next').disabled = !answer || answer.masks.length < 2;
  at('save').disabled = !answer;
  drawMarks();
  drawMask();
}

async function open(file) {
  const mine = ++given;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none' });
  } catch {
    return tell(`${file.name ?? 'That'} is no picture that this browser can read. Try a PNG or a JPEG.`);
  }
  if (mine < shown) return;
  shown = mine;
  name = (file.name ?? 'picture').replace(/\.[^.]*$/, '');
  for (const canvas of [picture, mask, marks]) [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const context = picture.getContext('2d', { willReadFrequently: true });
  context.fillStyle = '#fff'; // under what is transparent, as the Python package reads it
  context.fillRect(0, 0, picture.width, picture.height);
  context.drawImage(bitmap, 0, 0);
  [steps, answer, chosen, ready] = [[], null, 0, false];
  hint.hidden = true;
  board.hidden = false;
  place();
  refresh();
  tell('Looking at the picture…');
  const start = performance.now();
  try {
    await opened;
    await ask('encode', { picture: context.getImageData(0, 0, picture.width, picture.height) });
  } catch (error) {
    return shown === mine && tell(error.message);
  }
  if (shown !== mine) return;
  ready = true;
  tell(`Looked in ${((performance.now() - start) / 1000).toFixed(1)} s. Click on the object.`);
  if (steps.length) answerLast();
}

/** Answers the last step; steps made meanwhile wait for one answer, not for one each. */
async function answerLast() {
  if (!ready) return;
  if (busy) {
    stale = true;
    return;
  }
  busy = true;
  do {
    stale = false;
    const last = steps.at(-1), asked = shown;
    const start = performance.now();
    let found = null;
    try {
      if (last) found = await ask('decode', last);
    } catch (error) {
      if (shown === asked) tell(error.message);
    }
    if (shown !== asked) continue;
    [answer, chosen] = [found, 0];
    if (answer && !stale) tellAnswer(performance.now() - start);
  } while (stale && ready);
  busy = false;
  refresh();
}

function tellAnswer(milliseconds) {
  const { mask: found, score } = answer.masks[chosen];
  const pixels = found.reduce((sum, value) => sum + value, 0);
  const time = milliseconds === undefined ? '' : ` in ${Math.round(milliseconds)} ms`;
  tell(pixels ? `${pixels.toLocaleString()} pixels, score ${score.toFixed(2)}${time}` : `Nothing found${time}. Add a click, or drag a box.`);
  document.body.dataset.pixels = String(pixels);
}

function drawMask() {
  const context = mask.getContext('2d');
  const image = context.createImageData(mask.width, mask.height);
  const found = answer?.masks[chosen].mask;
  if (found) {
    for (let k = 0; k < found.length; k++) if (found[k]) image.data.set([...COLOUR, 120], 4 * k);
  }
  context.putImageData(image, 0, 0);
}

function drawMarks() {
  const context = marks.getContext('2d');
  const unit = marks.width / (marks.clientWidth || marks.width);
  context.clearRect(0, 0, marks.width, marks.height);
  const last = steps.at(-1) ?? { box: null, points: [], labels: [] };
  const box = drag?.box ?? last.box;
  context.lineWidth = 2 * unit;
  if (box) {
    context.strokeStyle = '#fff';
    context.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
  }
  last.points.forEach(([x, y], k) => {
    context.beginPath();
    context.arc(x + 0.5, y + 0.5, 6 * unit, 0, 2 * Math.PI);
    context.fillStyle = last.labels[k] ? '#2fae6b' : '#d8433b';
    context.strokeStyle = '#fff';
    context.fill();
    context.stroke();
  });
}

/** Fits the picture into the window. */
function place() {
  const scale = Math.min((stage.clientWidth - 32) / picture.width, (stage.clientHeight - 32) / picture.height, 4);
  for (const canvas of [picture, mask, marks]) {
    canvas.style.width = `${Math.max(1, picture.width * scale)}px`;
    canvas.style.height = `${Math.max(1, picture.height * scale)}px`;
  }
  drawMarks();
}

function pixel(event) {
  const frame = marks.getBoundingClientRect();
  const along = (value, start, length, count) => Math.min(count - 1, Math.max(0, Math.floor(((value - start) / length) * count)));
  return [along(event.clientX, frame.left, frame.width, marks.width), along(event.clientY, frame.top, frame.height, marks.height)];
}

function step(change) {
  const last = steps.at(-1) ?? { box: null, points: [], labels: [] };
  steps.push({ ...last, ...change(last) });
  refresh();
  answerLast();
}

marks.addEventListener('pointerdown', (event) => {
  marks.setPointerCapture(event.pointerId);
  drag = { from: pixel(event), background: event.shiftKey || event.button === 2, box: null };
});
marks.addEventListener('pointermove', (event) => {
  if (!drag) return;
  const [x, y] = pixel(event), [x0, y0] = drag.from;
  const far = Math.hypot(x - x0, y - y0) * (marks.clientWidth / marks.width) > 8;
  drag.box = far || drag.box ? [Math.min(x, x0), Math.min(y, y0), Math.max(x, x0) + 1, Math.max(y, y0) + 1] : null;
  drawMarks();
});
marks.addEventListener('pointerup', () => {
  if (!drag) return;
  const { box, from, background } = drag;
  drag = null;
  if (box) step(() => ({ box }));
  else step(({ points, labels }) => ({ points: [...points, from], labels: [...labels, background ? 0 : 1] }));
});
marks.addEventListener('pointercancel', () => (drag = null));
marks.addEventListener('contextmenu', (event) => event.preventDefault());

function undo() {
  steps.pop();
  refresh();
  answerLast();
}

function next() {
  chosen = (chosen + 1) % answer.masks.length;
  tellAnswer();
  refresh();
}

function save() {
  const canvas = new OffscreenCanvas(mask.width, mask.height);
  const context = canvas.getContext('2d');
  const image = context.createImageData(mask.width, mask.height);
  answer.masks[chosen].mask.forEach((value, k) => image.data.set([255 * value, 255 * value, 255 * value, 255], 4 * k));
  context.putImageData(image, 0, 0);
  const download = `${name}_mask.png`;
  canvas.convertToBlob().then((blob) => {
    const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download });
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

for (const [id, act] of Object.entries({ undo, next, save })) at(id).addEventListener('click', act);
addEventListener('keydown', (event) => {
  const id = { z: 'undo', c: 'next', s: 'save' }[event.key];
  if (id && !at(id).disabled && !(event.metaKey && id !== 'undo')) at(id).click();
});
at('file').addEventListener('change', (event) => event.target.files[0] && open(event.target.files[0]));
addEventListener('paste', (event) => event.clipboardData?.files[0] && open(event.clipboardData.files[0]));
addEventListener('resize', place);
stage.addEventListener('dragover', (event) => {
  event.preventDefault();
  stage.classList.add('over');
});
stage.addEventListener('dragleave', () => stage.classList.remove('over'));
stage.addEventListener('drop', (event) => {
  event.preventDefault();
  stage.classList.remove('over');
  if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
});

const opened = ask('open');
opened.then(({ name: model }) => board.hidden && tell(`${model} is open.`), (error) => tell(error.message));
