/** Requests to the server; a refusal becomes an error that says what to try. */

/** What went wrong, and what to try. */
export class Refusal extends Error {
  /** @param {number} status @param {string} message @param {string} hint */
  constructor(status, message, hint) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

const fragment = new URLSearchParams(location.hash.slice(1));
if (fragment.has("key")) {
  sessionStorage.setItem("key", /** @type {string} */ (fragment.get("key")));
  history.replaceState(null, "", location.pathname);
}

/** Keeps the API key for this tab. @param {string} key */
export function setKey(key) { sessionStorage.setItem("key", key); }

/**
 * Sends a request and gives the response, whatever its kind.
 * @param {string} method @param {string} path
 * @param {{json?: unknown, body?: Blob, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>}
 */
export async function send(method, path, options = {}) {
  /** @type {Record<string, string>} */
  const headers = {};
  const key = sessionStorage.getItem("key");
  if (key) headers.authorization = `Bearer ${key}`;
  if (options.json !== undefined) headers["content-type"] = "application/json";
  else if (options.body) headers["content-type"] = options.body.type || "application/octet-stream";
  const body = options.json !== undefined ? JSON.stringify(options.json) : options.body;
  let response;
  try {
    response = await fetch(path, { method, headers, body, signal: options.signal });
  } catch (error) {
    if (/** @type {Error} */ (error).name === "AbortError") throw error;
    throw new Refusal(0, "The server does not answer.", "Start it again: vns-sam serve. Your work is safe in this browser.");
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  if (response.status === 429) {
    const seconds = Number(response.headers.get("retry-after") ?? 1);
    await new Promise((resolve) => setTimeout(resolve, Math.min(10, seconds) * 1000));
    if (!options.signal?.aborted) return send(method, path, options);
  }
  throw new Refusal(response.status, told.error ?? `The server answered ${response.status}.`, told.hint ?? "");
}

/** Sends a request and reads JSON. @param {string} method @param {string} path @param {Parameters<typeof send>[2]} [options] @returns {Promise<any>} */
export async function json(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
}
