/** This browser's own copy of all work, so that a reload, a crash or a restart of the server loses nothing. */

/** @typedef {import("./types.js").Picture} Picture */

const FIELDS = /** @type {const} */ (["key", "name", "width", "height", "blob", "served", "doc", "past", "future", "savedAt", "base", "place"]);
const REMEMBERED = 40; // steps of undo that outlive a reload

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("vns-sam", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("pictures", { keyPath: "key" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

let database = open();

/** @template T @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} work @returns {Promise<T>} */
async function run(mode, work) {
  const transaction = (await database).transaction("pictures", mode);
  const request = work(transaction.objectStore("pictures"));
  await done(transaction);
  return request.result;
}

/** @param {IDBTransaction} transaction @returns {Promise<void>} */
function done(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = transaction.onerror = (event) => reject(transaction.error ?? /** @type {IDBRequest} */ (event.target).error);
  });
}

/**
 * Keeps a picture and its objects. Of one that was opened from a file this is the only copy: where another tab has changed it since, its row stays and is given.
 * @param {Picture} picture @returns {Promise<any>}
 */
export async function keep(picture) {
  const row = Object.fromEntries(FIELDS.map((name) => [name, picture[name]]));
  row.past = picture.past.slice(-REMEMBERED);
  row.future = picture.future.slice(-REMEMBERED);
  if (picture.served !== null) return run("readwrite", (store) => store.put(row)).then(() => null);
  const open = await database;
  if (picture.removed) return null;
  const transaction = open.transaction("pictures", "readwrite"), store = transaction.objectStore("pictures");
  /** @type {any} */
  let other = null;
  const found = store.get(picture.key);
  found.onsuccess = () => {
    const old = found.result;
    if (old && old.savedAt !== picture.base && old.savedAt !== row.savedAt) other = old;
    else store.put(row);
  };
  await done(transaction);
  if (!other) picture.base = row.savedAt;
  return other;
}

/** One picture, or undefined. @param {string} key @returns {Promise<any>} */
export function recall(key) { return run("readonly", (store) => store.get(key)); }

/** All pictures that were opened in this browser, oldest first. @returns {Promise<any[]>} */
export async function recallAll() {
  const rows = await run("readonly", (store) => store.getAll());
  return rows.filter((row) => !row.key.startsWith("folder:")).sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** Forgets a picture. @param {string} key */
export function forget(key) { return run("readwrite", (store) => store.delete(key)); }
