/** Keeps the open session in the browser's storage while its text and settings change. */

import { showAlert, showStatus } from "./page_state.js";
import { SessionError, isStored, isUnused, saveSession, setCurrent, titleOf } from "./sessions.js";

const SAVE_MS = 400;

export class SessionKeeper {
  /** @type {import("./sessions.js").Session} */
  session;
  #doc;
  #timer = 0;

  constructor(doc, session) {
    this.#doc = doc;
    this.session = session;
    window.addEventListener("pagehide", () => this.save());
  }

  /** Stores the open session, unless it was deleted, and opens another. */
  open(session) {
    if (session !== this.session && isStored(this.session.id)) this.save();
    clearTimeout(this.#timer);
    this.session = session;
    this.#doc.load(session.text, session.tokens);
    this.#write(() => setCurrent(session.id));
  }

  saveSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.save(), SAVE_MS);
  }

  /** Does not store a session that nothing was done with. */
  save() {
    clearTimeout(this.#timer);
    const { text, tokens } = this.#doc;
    if (text !== this.session.text || tokens !== this.session.tokens) this.session.changed = Date.now();
    Object.assign(this.session, { text, tokens });
    if (isStored(this.session.id) || !isUnused(this.session)) this.#write(() => this.#store());
    document.getElementById("open-sessions").textContent = `Session: ${titleOf(this.session)}`;
  }

  #store() {
    const isWhole = saveSession(this.session);
    if (!isWhole) showStatus("The browser's storage is nearly full: the alternatives of this text are not kept.");
  }

  #write(action) {
    try {
      action();
    } catch (error) {
      const isFull = error instanceof SessionError;
      showAlert(isFull ? error.message : "This browser stores nothing for this page: a text is lost when it closes.");
    }
  }
}
