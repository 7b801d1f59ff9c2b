/** The dialog of sessions: open, rename, delete, export, import. */

import {
  SessionError,
  allSessions,
  deleteSession,
  exported,
  importSessions,
  newSession,
  saveSession,
  titleOf,
} from "./sessions.js";
import { element } from "./settings.js";

const byId = (id) => document.getElementById(id);

/** Dispatches `open` (detail: session) and `renamed` (detail: id, name). */
export class SessionList extends EventTarget {
  #currentId = "";

  constructor() {
    super();
    byId("new-session").addEventListener("click", () => this.#open(newSession()));
    byId("export-sessions").addEventListener("click", () => download(exported()));
    byId("import-sessions").addEventListener("click", () => byId("import-file").click());
    byId("import-file").addEventListener("change", (event) => this.#import(event.target));
  }

  show(currentId) {
    this.#currentId = currentId;
    byId("sessions-error").textContent = "";
    this.#draw();
    byId("sessions").showModal();
  }

  #draw() {
    byId("session-list").replaceChildren(...allSessions().map((session) => this.#row(session)));
  }

  #row(session) {
    const title = titleOf(session);
    const name = element("input", { type: "text", value: title, ariaLabel: `Name of ${title}`, maxLength: 100 });
    name.addEventListener("change", () => this.#rename(session, name.value.trim()));
    const date = element("small", { textContent: new Date(session.changed).toLocaleString() });
    const open = element("button", { type: "button", textContent: "Open", ariaLabel: `Open ${title}` });
    open.addEventListener("click", () => this.#open(session));
    const row = element("li");
    if (session.id === this.#currentId) row.setAttribute("aria-current", "true");
    row.append(name, date, open, this.#deleteButton(session, title));
    return row;
  }

  /** Asks by its own text: the second click deletes. */
  #deleteButton(session, title) {
    const button = element("button", { type: "button", textContent: "Delete", ariaLabel: `Delete ${title}` });
    let isSure = false;
    button.addEventListener("blur", () => {
      isSure = false;
      button.textContent = "Delete";
      button.ariaLabel = `Delete ${title}`;
    });
    button.addEventListener("click", () => {
      if (isSure) return this.#delete(session);
      isSure = true;
      button.textContent = "Really delete";
      button.ariaLabel = `Really delete ${title}`;
      return undefined;
    });
    return button;
  }

  #open(session) {
    byId("sessions").close();
    this.dispatchEvent(new CustomEvent("open", { detail: { session } }));
  }

  #rename(session, name) {
    this.#change(() => saveSession({ ...session, name }));
    this.dispatchEvent(new CustomEvent("renamed", { detail: { id: session.id, name } }));
    this.#draw();
  }

  #delete(session) {
    deleteSession(session.id);
    this.#draw();
    if (session.id === this.#currentId) this.#open(allSessions()[0] ?? newSession());
  }

  async #import(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    const json = await file.text();
    this.#change(() => importSessions(json));
    this.#draw();
  }

  #change(action) {
    byId("sessions-error").textContent = "";
    try {
      action();
    } catch (error) {
      if (!(error instanceof SessionError)) throw error;
      byId("sessions-error").textContent = error.message;
    }
  }
}

function download(json) {
  const url = URL.createObjectURL(new Blob([json], { type: "application/json" }));
  element("a", { href: url, download: "gpt2xl-sessions.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
