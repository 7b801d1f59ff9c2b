/**
 * Tokens of a text, read from the log-probabilities of a completion.
 *
 * @typedef {object} Token
 * @property {number} start  where it begins in the text, in UTF-16 code units
 * @property {number} end
 * @property {number | null} logprob  null for the first token of a text
 * @property {[string, number][]} top  the likeliest tokens in its place, best first
 */

/** How many alternatives the page asks for. */
export const ALTERNATIVES = 10;

/** From the most to the least probable; `least` is a probability. */
export const LEVELS = [
  { name: "sure", least: 0.5, range: "50 % and more" },
  { name: "likely", least: 0.1, range: "10 to 50 %" },
  { name: "possible", least: 0.01, range: "1 to 10 %" },
  { name: "unlikely", least: 0, range: "below 1 %" },
];

export function levelOf(logprob) {
  return logprob === null ? "unknown" : LEVELS.find((level) => Math.exp(logprob) >= level.least).name;
}

/** 0.2345 -> "23.5 %"; what is below 0.01 % says so. */
export function percent(logprob) {
  const value = 100 * Math.exp(logprob);
  if (value < 0.01) return "< 0.01 %";
  return `${value.toFixed(value < 1 ? 2 : 1)} %`;
}

/** Spaces and line ends as signs, so that " the" and "the" differ. */
export function visible(text) {
  return text.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥");
}

/** Whether a token is a part of a character, which the protocol spells `bytes:\xe2\x80`. */
export function isFragment(text) {
  return /^bytes:.*\\x[0-9a-f]{2}/is.test(text);
}

function bytesOf(fragment) {
  const bytes = [];
  for (const [part, code] of fragment.slice("bytes:".length).matchAll(/\\x([0-9a-f]{2})|[^]/giu)) {
    if (code) bytes.push(parseInt(code, 16));
    else bytes.push(...new TextEncoder().encode(part));
  }
  return bytes;
}

function decoded(bytes, fatal) {
  try {
    return new TextDecoder("utf-8", { fatal, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch {
    return null;
  }
}

/** Best first; the text `\ufffd` of a broken character stays as it is. */
function ranked(top) {
  return Object.entries(top ?? {})
    .sort((one, other) => other[1] - one[1])
    .slice(0, ALTERNATIVES);
}

/** Turns the log-probabilities of successive chunks into tokens; joins the parts of a character. */
export class TokenReader {
  #position;
  #bytes = [];
  #parts = null;

  /** @param {number} start  where the first token lies in the text */
  constructor(start = 0) {
    this.#position = start;
  }

  /** @returns {Token[]} the tokens that `logprobs` completes */
  read(logprobs) {
    const found = [];
    (logprobs?.tokens ?? []).forEach((text, index) => {
      const logprob = logprobs.token_logprobs[index];
      const top = ranked(logprobs.top_logprobs?.[index]);
      if (!isFragment(text)) {
        found.push(...this.finish(), this.#token(text, logprob, top));
        return;
      }
      this.#bytes.push(...bytesOf(text));
      this.#parts = this.#parts ? { ...this.#parts, logprob: this.#parts.logprob + logprob } : { logprob, top };
      const whole = decoded(this.#bytes, true);
      if (whole !== null) found.push(this.#joined(whole));
    });
    return found;
  }

  /** @returns {Token[]} what is left of a character that the text broke off */
  finish() {
    return this.#parts ? [this.#joined(decoded(this.#bytes, false))] : [];
  }

  #joined(text) {
    const { logprob, top } = this.#parts;
    this.#bytes = [];
    this.#parts = null;
    return this.#token(text, logprob, top);
  }

  #token(text, logprob, top) {
    const start = this.#position;
    this.#position += text.length;
    return { start, end: this.#position, logprob, top };
  }
}

/** exp of the mean negative log-probability, over the tokens that have one. */
export function perplexity(logprobs) {
  const known = logprobs.filter((logprob) => logprob !== null);
  const sum = known.reduce((total, logprob) => total + logprob, 0);
  return { count: known.length, value: Math.exp(-sum / known.length) };
}
