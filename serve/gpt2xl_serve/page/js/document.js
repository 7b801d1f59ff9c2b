/** A text with its tokens, and what undo and redo go back to. */

const STEPS = 200;
/** Typing without a longer pause than this is one step of undo. */
const PAUSE_MS = 1000;

export class TextDocument extends EventTarget {
  text = "";
  /** @type {import("./tokens.js").Token[]} in order; parts of the text may have none */
  tokens = [];
  #past = [];
  #future = [];
  #typedAt = 0;
  #isNewStep = true;

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /** The user's change. Tokens after it lose their probabilities, which depended on what stood before. */
  type(text) {
    if (text === this.text) return;
    const now = Date.now();
    if (now - this.#typedAt > PAUSE_MS) this.#remember();
    this.#typedAt = now;
    const same = commonPrefix(text, this.text);
    this.#future = [];
    this.#set(
      text,
      this.tokens.filter((token) => token.end <= same),
    );
  }

  /** The next append is a step of undo of its own. */
  beginStep() {
    this.#isNewStep = true;
    this.#typedAt = 0;
  }

  append(text, tokens) {
    if (this.#isNewStep && (text || tokens.length)) {
      this.#remember();
      this.#isNewStep = false;
    }
    this.#set(this.text + text, [...this.tokens, ...tokens]);
  }

  /** One step of undo, with what is appended to it. */
  replace(text, tokens) {
    this.#remember();
    this.#typedAt = 0;
    this.#isNewStep = false;
    this.#set(text, tokens);
  }

  /** Probabilities of the present text: not a step of undo, since no text changes. */
  colour(tokens) {
    this.#set(this.text, tokens);
  }

  /** Another document: undo does not lead back to the one before. */
  load(text, tokens) {
    this.#past = [];
    this.#future = [];
    this.#typedAt = 0;
    this.#set(text, tokens);
  }

  undo() {
    this.#go(this.#past, this.#future);
  }

  redo() {
    this.#go(this.#future, this.#past);
  }

  /** The token that holds the character at `position`. */
  tokenAt(position) {
    return this.tokens.find((token) => token.start <= position && position < token.end) ?? null;
  }

  textOf(token) {
    return this.text.slice(token.start, token.end);
  }

  /** The tokens that end at `position` or before. */
  tokensBefore(position) {
    return this.tokens.filter((token) => token.end <= position);
  }

  #remember() {
    this.#past.push({ text: this.text, tokens: this.tokens });
    this.#past.splice(0, this.#past.length - STEPS);
    this.#future = [];
  }

  #go(from, to) {
    const state = from.pop();
    if (!state) return;
    to.push({ text: this.text, tokens: this.tokens });
    this.#typedAt = 0;
    this.#set(state.text, state.tokens);
  }

  #set(text, tokens) {
    this.text = text;
    this.tokens = tokens;
    this.dispatchEvent(new Event("change"));
  }
}

function commonPrefix(one, other) {
  let length = 0;
  while (length < one.length && one[length] === other[length]) length += 1;
  return length;
}
