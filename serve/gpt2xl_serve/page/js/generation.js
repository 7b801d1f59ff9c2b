/** Runs a generation into a document, and scores one. */

import { requestFields } from "./settings.js";
import { ALTERNATIVES, TokenReader, perplexity } from "./tokens.js";

/**
 * Streams what follows `base` and the document's text into the document.
 *
 * @returns {Promise<{count: number, seconds: number, reason: string | null, stopReason: string | null}>}
 */
export async function generate({ api, doc, base = "", settings, seed, model, signal }) {
  const body = { model, prompt: base + doc.text, logprobs: ALTERNATIVES, ...requestFields(settings, seed) };
  const reader = new TokenReader(doc.text.length);
  const begin = performance.now();
  let waiting = [];
  let count = 0;
  let reason = null;
  let stopReason = null;
  for await (const { choices } of api.stream(body, signal)) {
    const choice = choices?.[0];
    if (!choice) continue;
    reason = choice.finish_reason ?? reason;
    stopReason = choice.stop_reason ?? stopReason;
    count += choice.logprobs?.tokens.length ?? 0;
    waiting.push(...reader.read(choice.logprobs));
    // Text is held back where it may begin a stop string; its tokens wait for it.
    const length = doc.text.length + choice.text.length;
    doc.append(
      choice.text,
      waiting.filter((token) => token.end <= length),
    );
    waiting = waiting.filter((token) => token.end > length);
  }
  return { count, seconds: (performance.now() - begin) / 1000, reason, stopReason };
}

/**
 * Colours the document's text by the probabilities that the model gives it.
 *
 * @returns {Promise<{count: number, value: number}>} its perplexity, and over how many tokens
 */
export async function score({ api, doc, model, signal }) {
  const text = doc.text;
  const body = { model, prompt: text, echo: true, max_tokens: 0, logprobs: ALTERNATIVES };
  const { choices } = await api.completion(body, signal);
  const reader = new TokenReader();
  const tokens = [...reader.read(choices[0].logprobs), ...reader.finish()];
  if (doc.text === text) doc.colour(tokens.filter((token) => token.start < token.end && token.end <= text.length));
  return perplexity(choices[0].logprobs.token_logprobs);
}
