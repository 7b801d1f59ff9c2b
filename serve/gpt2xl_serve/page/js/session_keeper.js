/** Keeps the open session in the browser's storage while its text and settings change. */

import { showAlert, showStatus } from "./page_state.js";
import { SessionError, saveSession, setCurrent, titleOf } from "./sessions.js";

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

  open(session) {
    this.session = session;
    this.#doc.load(session.text, session.tokens);
    this.#write(() => setCurrent(session.id));
  }

  saveSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.save(), SAVE_MS);
  }

  /** Does not store a session that was never written in. */
  save() {
    clearTimeout(this.#timer);
    const { text, tokens } = this.#doc;
    const isUnused = text === "" && this.session.text === "" && this.session.name === "";
    Object.assign(this.session, { text, tokens, changed: Date.now() });
    if (!isUnused) this.#write(() => this.#store());
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
