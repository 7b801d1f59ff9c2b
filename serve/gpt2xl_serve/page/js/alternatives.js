/** The likeliest tokens in the place of one, in a small window beside it. */

import { element } from "./settings.js";
import { isFragment, levelOf, percent, visible } from "./tokens.js";

const SHOW_MS = 120;
const HIDE_MS = 300;
const MARGIN = 8;

/** Dispatches `choose` (detail: editor, token, text) and `cut` (detail: editor, token). */
export class Alternatives extends EventTarget {
  #root;
  #announcement;
  #timer = 0;
  #editor = null;
  #token = null;

  constructor(root, announcement) {
    super();
    this.#root = root;
    this.#announcement = announcement;
    root.addEventListener("mouseenter", () => clearTimeout(this.#timer));
    root.addEventListener("mouseleave", () => this.#hideSoon());
    root.addEventListener("keydown", (event) => this.#onKey(event));
    root.addEventListener("focusout", (event) => {
      if (!root.contains(event.relatedTarget)) this.#hideSoon();
    });
    window.addEventListener("scroll", () => this.#hasFocus || this.hide(), { passive: true });
  }

  get isOpen() {
    return !this.#root.hidden;
  }

  get #hasFocus() {
    return this.#root.contains(document.activeElement);
  }

  /** Shows the alternatives of the tokens that `editor` points at. */
  follow(editor) {
    editor.addEventListener("point", ({ detail: { token, rect, byKey } }) => {
      clearTimeout(this.#timer);
      if (byKey) this.#show(editor, token, rect);
      else this.#timer = setTimeout(() => this.#show(editor, token, rect), SHOW_MS);
      if (byKey) this.#announce(token);
    });
    editor.addEventListener("leave", () => this.#hideSoon());
    editor.addEventListener("enter-alternatives", () => this.#root.querySelector("button:not(:disabled)")?.focus());
  }

  hide() {
    clearTimeout(this.#timer);
    if (this.#hasFocus) this.#editor.field.focus({ preventScroll: true });
    this.#root.hidden = true;
    this.#editor?.mark(null);
    this.#token = null;
  }

  #hideSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#hasFocus || this.hide(), HIDE_MS);
  }

  #announce(token) {
    const words = token.logprob === null ? "no probability" : `${percent(token.logprob)}, ${levelOf(token.logprob)}`;
    this.#announcement.textContent = `${this.#editor.doc.textOf(token)}: ${words}`;
  }

  #show(editor, token, rect) {
    if (this.#editor !== editor) this.#editor?.mark(null);
    this.#editor = editor;
    this.#token = token;
    this.#fill();
    this.#root.hidden = false;
    this.#place(rect);
    editor.mark(token);
  }

  #fill() {
    const token = this.#token;
    const text = this.#editor.doc.textOf(token);
    const words = token.logprob === null ? "first token" : `${percent(token.logprob)}, ${levelOf(token.logprob)}`;
    const title = element("p", { className: "title" });
    title.append(element("b", { textContent: visible(text) }), ` ${words}`);
    const list = element("ol");
    list.append(...token.top.map(([other, logprob]) => this.#item(other, logprob, other === text)));
    const cut = element("button", { type: "button", className: "cut", textContent: "Cut after it and go on" });
    cut.addEventListener("click", () => this.#send("cut", {}));
    this.#root.replaceChildren(title, list, cut);
  }

  #item(text, logprob, isCurrent) {
    const button = element("button", { type: "button" });
    const word = isFragment(text) ? text.slice("bytes:".length) : visible(text);
    const name = element("span", { className: "word", textContent: word });
    const share = element("span", { className: "share", textContent: percent(logprob) });
    button.style.setProperty("--share", `${100 * Math.exp(logprob)}%`);
    button.append(name, share);
    if (isCurrent) button.setAttribute("aria-current", "true");
    button.disabled = isFragment(text);
    button.title = isFragment(text) ? "a part of a character" : "Go on from this token";
    button.addEventListener("click", () => this.#send("choose", { text }));
    const item = element("li");
    item.append(button);
    return item;
  }

  #send(type, detail) {
    const [editor, token] = [this.#editor, this.#token];
    this.hide();
    this.dispatchEvent(new CustomEvent(type, { detail: { editor, token, ...detail } }));
  }

  #place(rect) {
    const { style, offsetWidth: width, offsetHeight: height } = this.#root;
    const below = rect.bottom + 2;
    const fits = below + height + MARGIN <= window.innerHeight;
    const top = fits ? below : Math.max(MARGIN, rect.top - height - 2);
    style.left = `${Math.max(MARGIN, Math.min(rect.left, window.innerWidth - width - MARGIN))}px`;
    style.top = `${top}px`;
  }

  #onKey(event) {
    const buttons = [...this.#root.querySelectorAll("button:not(:disabled)")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      const index = buttons.indexOf(document.activeElement) + step;
      buttons[(index + buttons.length) % buttons.length].focus();
      event.preventDefault();
    }
  }
}
