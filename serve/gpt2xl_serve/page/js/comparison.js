/** Two continuations of one prompt, each with its own settings. */

import { TextDocument } from "./document.js";
import { Editor } from "./editor.js";
import { element, summary } from "./settings.js";

/** Dispatches `keep` (detail: pane). */
export class Comparison extends EventTarget {
  /** The text that both continue. */
  base = "";
  baseTokens = [];

  constructor(root) {
    super();
    this.root = root;
    this.panes = ["a", "b"].map((name) => this.#pane(name));
  }

  begin(base, baseTokens) {
    this.base = base;
    this.baseTokens = baseTokens;
    for (const { doc } of this.panes) doc.load("", []);
  }

  /** @param {{a: object, b: object}} settings */
  describe(settings) {
    const [a, b] = this.panes;
    a.caption.textContent = summary(settings.a, settings.b);
    b.caption.textContent = summary(settings.b, settings.a);
  }

  paneOf(editor) {
    return this.panes.find((pane) => pane.editor === editor) ?? null;
  }

  /** The whole text of a pane, with the tokens moved to where they lie in it. */
  wholeOf({ doc }) {
    const length = this.base.length;
    const moved = doc.tokens.map((token) => ({ ...token, start: token.start + length, end: token.end + length }));
    return { text: this.base + doc.text, tokens: [...this.baseTokens, ...moved] };
  }

  #pane(name) {
    const letter = name.toUpperCase();
    const box = element("section", { className: "pane", ariaLabel: `Continuation ${letter}` });
    const caption = element("p", { className: "caption" });
    const keep = element("button", { type: "button", textContent: `Keep ${letter}`, disabled: true });
    const title = element("h2", { textContent: letter });
    const head = element("div", { className: "pane-head" });
    head.append(title, keep);
    box.append(head, caption);
    this.root.append(box);
    const doc = new TextDocument();
    const options = { label: `Continuation ${letter}`, id: `pane-${name}`, isLocked: true };
    const editor = new Editor(box, doc, { ...options, placeholder: "Generate continues the text above with both." });
    const pane = { name, doc, editor, caption, keep };
    doc.addEventListener("change", () => {
      keep.disabled = doc.text === "";
    });
    keep.addEventListener("click", () => this.dispatchEvent(new CustomEvent("keep", { detail: { pane } })));
    return pane;
  }
}
