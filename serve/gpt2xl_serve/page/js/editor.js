/**
 * A text field that shows tokens in colours: a textarea with a transparent background over a copy of its text.
 *
 * The user gets the browser's own editing, selection and screen reader support; the copy below has the same lines,
 * so that the token under the pointer is found there.
 */

import { element } from "./settings.js";
import { levelOf } from "./tokens.js";

const CARET_KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];

/** Dispatches `point` (detail: token, rect, byKey), `leave` and `enter-alternatives`. */
export class Editor extends EventTarget {
  #frame = element("div", { className: "editor" });
  #copy = element("div", { className: "copy", ariaHidden: "true" });
  #shown = []; // [text, token, element] of each part of the copy
  #isDrawing = false;
  #pointed = null;
  #marked = null;
  #isLocked = false;

  /** @param {import("./document.js").TextDocument} doc */
  constructor(root, doc, { label, id, placeholder = "", isLocked = false }) {
    super();
    this.doc = doc;
    this.field = element("textarea", { id, placeholder, ariaLabel: label, spellcheck: false, rows: 1 });
    this.#frame.append(this.#copy, this.field);
    root.append(this.#frame);
    doc.addEventListener("change", () => this.#drawSoon());
    this.lock(isLocked);
    this.#listen();
    this.#draw();
  }

  /** A locked field keeps its cursor, so that the arrow keys still go through tokens. */
  lock(isLocked) {
    if (isLocked === this.#isLocked) return;
    this.#draw(); // a key may come before the next frame, and has to find the present text
    this.#isLocked = isLocked;
    this.field.ariaReadOnly = String(isLocked);
  }

  #listen() {
    const { field } = this;
    field.addEventListener("beforeinput", (event) => {
      if (this.#isLocked) event.preventDefault();
    });
    field.addEventListener("input", () => {
      if (this.#isLocked) field.value = this.doc.text;
      else this.doc.type(field.value);
      this.#leave();
    });
    field.addEventListener("mousemove", (event) => this.#pointAt(event.clientX, event.clientY));
    field.addEventListener("click", (event) => this.#pointAt(event.clientX, event.clientY));
    field.addEventListener("mouseleave", () => this.#leave());
    field.addEventListener("blur", () => this.#leave());
    field.addEventListener("keydown", (event) => this.#onKey(event));
    field.addEventListener("keyup", (event) => {
      if (CARET_KEYS.includes(event.key) && !event.shiftKey) this.pointAtCaret();
    });
  }

  #onKey(event) {
    if (!event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowDown") {
      this.pointAtCaret();
      this.dispatchEvent(new Event("enter-alternatives"));
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      this.#goToToken(event.key === "ArrowRight" ? 1 : -1);
    } else return;
    event.preventDefault();
  }

  #goToToken(step) {
    const { tokens } = this.doc;
    const position = this.field.selectionStart;
    const next =
      step > 0 ? tokens.find((token) => token.start > position) : tokens.findLast((token) => token.start < position);
    if (next) this.field.setSelectionRange(next.start, next.start);
  }

  /** Points at the token after the cursor; at the end of the text, at the last one. */
  pointAtCaret() {
    const { selectionStart: start, selectionEnd: end } = this.field;
    const token = start === end ? (this.doc.tokenAt(start) ?? this.doc.tokenAt(start - 1)) : null;
    this.#draw();
    const part = token && this.#shown.find((shown) => shown[1] === token)?.[2];
    if (!part) this.#leave();
    else this.#point(token, part.getClientRects()[0] ?? part.getBoundingClientRect(), true);
  }

  #pointAt(x, y) {
    const part = document.elementsFromPoint(x, y).find((found) => found.parentElement === this.#copy);
    const token = this.#shown.find((shown) => shown[2] === part)?.[1];
    if (!token) return this.#leave();
    const rects = [...part.getClientRects()];
    const rect = rects.find((line) => line.top <= y && y <= line.bottom) ?? rects[0];
    if (token !== this.#pointed) this.#point(token, rect, false);
    return undefined;
  }

  #point(token, rect, byKey) {
    this.#pointed = token;
    this.dispatchEvent(new CustomEvent("point", { detail: { token, rect, byKey } }));
  }

  #leave() {
    this.#pointed = null;
    this.dispatchEvent(new Event("leave"));
  }

  /** Frames the token that the alternatives belong to; null frames none. */
  mark(token) {
    this.#marked = token;
    if (token === null) this.#pointed = null; // the pointer may come back to it
    for (const [, shown, part] of this.#shown) part.classList?.toggle("marked", shown !== null && shown === token);
  }

  /** A stream changes a locked field more often than the screen shows it. */
  #drawSoon() {
    if (!this.#isLocked) this.#draw();
    if (!this.#isLocked || this.#isDrawing) return;
    this.#isDrawing = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#isDrawing = false;
    // Scrolling would take the alternatives away from who looks at them.
    const isFollowed = this.#isLocked && this.#isEndVisible && !this.#pointed && !this.#marked;
    const parts = partsOf(this.doc);
    let same = 0;
    while (same < parts.length && this.#shown[same]?.[0] === parts[same][0] && this.#shown[same][1] === parts[same][1])
      same += 1;
    this.#shown.splice(same).forEach(([, , old]) => old.remove());
    for (const [text, token] of parts.slice(same)) {
      const part = element("span", { textContent: text, className: token ? `token ${levelOf(token.logprob)}` : "" });
      this.#copy.append(part);
      this.#shown.push([text, token, part]);
    }
    this.#showText();
    if (isFollowed && !this.#isEndVisible) this.#frame.scrollIntoView({ block: "end" });
  }

  get #isEndVisible() {
    return this.#frame.getBoundingClientRect().bottom <= window.innerHeight;
  }

  #showText() {
    const { field, doc } = this;
    if (field.value === doc.text) return;
    const { selectionStart, selectionEnd } = field;
    const wasAtEnd = selectionStart === field.value.length;
    field.value = doc.text;
    if (!wasAtEnd) field.setSelectionRange(selectionStart, selectionEnd);
  }
}

/** The text cut at its tokens: [text, token or null]; a last empty line counts as one. */
function partsOf(doc) {
  const parts = [];
  let position = 0;
  for (const token of doc.tokens) {
    if (token.start > position) parts.push([doc.text.slice(position, token.start), null]);
    parts.push([doc.textOf(token), token]);
    position = token.end;
  }
  parts.push([`${doc.text.slice(position)}\u200b`, null]);
  return parts;
}
