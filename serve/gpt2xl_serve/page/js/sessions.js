/**
 * Texts with their settings in the browser's storage.
 *
 * @typedef {object} Session
 * @property {string} id
 * @property {string} name  "" shows the first words of the text
 * @property {string} text
 * @property {import("./tokens.js").Token[]} tokens
 * @property {{a: object, b: object}} settings
 * @property {boolean} isComparing
 * @property {number} changed  milliseconds since 1970
 */

import { areDefaults, checkedSettings } from "./settings.js";

const PREFIX = "gpt2xl.session.";
const CURRENT = "gpt2xl.current";
const FORMAT = "gpt2xl-sessions";

export class SessionError extends Error {}

/** @returns {Session} */
export function newSession() {
  const settings = { a: checkedSettings({}), b: checkedSettings({}) };
  return { id: randomId(), name: "", text: "", tokens: [], settings, isComparing: false, changed: Date.now() };
}

/** Whether a session is still as `newSession` made it. */
export function isUnused({ name, text, settings, isComparing }) {
  return name === "" && text === "" && !isComparing && areDefaults(settings.a) && areDefaults(settings.b);
}

export function titleOf(session) {
  return session.name || session.text.trim().replace(/\s+/g, " ").slice(0, 40) || "Empty";
}

/** The stored sessions, the latest first; one that cannot be read is left out. */
export function allSessions() {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  return keys
    .map(readSession)
    .filter(Boolean)
    .sort((one, other) => other.changed - one.changed);
}

/** The session that the page showed last, or a new one. */
export function currentSession() {
  try {
    const id = localStorage.getItem(CURRENT);
    return (id && readSession(PREFIX + id)) || allSessions()[0] || newSession();
  } catch {
    return newSession(); // storage is switched off in this browser
  }
}

/** The page shows this session when it opens again. */
export function setCurrent(id) {
  localStorage.setItem(CURRENT, id);
}

/**
 * Stores a session.
 *
 * @returns {boolean} false where the storage is so full that the alternatives had to be left out
 * @throws {SessionError} where not even the text fits
 */
export function saveSession(session) {
  const { id, ...rest } = session;
  const write = (tokens) => localStorage.setItem(PREFIX + id, JSON.stringify({ ...rest, tokens }));
  const packed = session.tokens.map(pack);
  try {
    write(packed);
    return true;
  } catch {
    try {
      write(packed.map(([start, end, logprob]) => [start, end, logprob, []]));
      return false;
    } catch {
      throw new SessionError("The browser's storage is full: export and delete sessions, or this text is lost.");
    }
  }
}

export function isStored(id) {
  try {
    return localStorage.getItem(PREFIX + id) !== null;
  } catch {
    return false; // storage is switched off in this browser
  }
}

export function deleteSession(id) {
  localStorage.removeItem(PREFIX + id);
}

/** @returns {string} all sessions as JSON */
export function exported() {
  const sessions = allSessions().map((session) => ({ ...session, id: undefined, tokens: session.tokens.map(pack) }));
  return JSON.stringify({ format: FORMAT, version: 1, sessions }, null, 1);
}

/**
 * Stores the sessions of an exported file beside those that are there.
 *
 * @returns {number} how many
 * @throws {SessionError} where `json` is no such file
 */
export function importSessions(json) {
  let file;
  try {
    file = JSON.parse(json);
  } catch {
    throw new SessionError("This file is not JSON.");
  }
  const sessions = file?.format === FORMAT && Array.isArray(file.sessions) ? file.sessions.map(unpack) : null;
  if (!sessions || sessions.includes(null)) throw new SessionError("This file holds no sessions of this page.");
  for (const session of sessions) saveSession({ ...session, id: randomId() });
  return sessions.length;
}

function readSession(key) {
  try {
    const session = unpack(JSON.parse(localStorage.getItem(key)));
    return session && { ...session, id: key.slice(PREFIX.length) };
  } catch {
    return null; // written by something else
  }
}

function pack({ start, end, logprob, top }) {
  const rounded = (value) => (value === null ? null : Math.round(value * 1e4) / 1e4);
  return [start, end, rounded(logprob), top.map(([text, value]) => [text, rounded(value)])];
}

/** A session without id from what was stored, or null. */
function unpack(stored) {
  if (typeof stored?.text !== "string" || !Array.isArray(stored.tokens)) return null;
  const isToken = ([start, end, logprob, top]) =>
    Number.isInteger(start) &&
    start < end &&
    end <= stored.text.length &&
    (logprob === null || Number.isFinite(logprob)) &&
    Array.isArray(top);
  const tokens = stored.tokens.filter((token) => Array.isArray(token) && isToken(token));
  return {
    name: typeof stored.name === "string" ? stored.name : "",
    text: stored.text,
    tokens: tokens.map(([start, end, logprob, top]) => ({ start, end, logprob, top })),
    settings: { a: checkedSettings(stored.settings?.a), b: checkedSettings(stored.settings?.b) },
    isComparing: stored.isComparing === true,
    changed: Number.isFinite(stored.changed) ? stored.changed : 0,
  };
}

/** Not crypto.randomUUID: pages that come over plain HTTP from another machine do not have it. */
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
