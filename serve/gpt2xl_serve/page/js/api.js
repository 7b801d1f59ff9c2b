/** The server's protocol: OpenAI's completions as a stream of events, models, and /tokenize. */

/** An answer that the page shows as one sentence. */
export class ApiError extends Error {}

export class Api {
  #key = sessionKey.read();
  #askForKey;

  /** @param {(reason: string) => Promise<string | null>} askForKey  null when the user gives none */
  constructor(askForKey) {
    this.#askForKey = askForKey;
  }

  /** @returns {Promise<{id: string, contextLength: number | null}>} */
  async model() {
    const { data } = await (await this.#send("v1/models")).json();
    const length = data[0]?.max_model_len ?? data[0]?.meta?.n_ctx ?? null;
    return { id: data[0]?.id ?? "", contextLength: length };
  }

  /** @returns {Promise<number | null>} the tokens of `prompt`; null where the server does not say */
  async count(prompt) {
    // The page counts by itself while the user types: no dialog and no message for that.
    const response = await this.#fetch("tokenize", { prompt }).catch(() => null);
    return response?.ok ? (await response.json()).tokens.length : null;
  }

  async completion(body, signal) {
    return (await this.#send("v1/completions", body, signal)).json();
  }

  /** Yields the chunks of a streamed completion. */
  async *stream(body, signal) {
    const response = await this.#send("v1/completions", { ...body, stream: true }, signal);
    for await (const data of events(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(chunk.error.message);
      yield chunk;
    }
  }

  async #send(path, body, signal) {
    for (;;) {
      const response = await this.#fetch(path, body, signal);
      if (response.ok) return response;
      const message = await messageOf(response);
      if (response.status !== 401) throw new ApiError(message);
      const key = await this.#askForKey(message);
      if (!key) throw new ApiError("The server asks for an API key.");
      this.#key = key;
      sessionKey.write(key);
    }
  }

  async #fetch(path, body, signal) {
    const headers = this.#key ? { Authorization: `Bearer ${this.#key}` } : {};
    const post = { method: "POST", body: JSON.stringify(body) };
    if (body) headers["Content-Type"] = "application/json";
    try {
      return await fetch(path, { ...(body ? post : {}), headers, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("The server does not answer. Is it running?");
    }
  }
}

async function messageOf(response) {
  const wait = response.headers.get("Retry-After");
  const text = await response.text();
  let message = `The server answered with status ${response.status}.`;
  try {
    message = JSON.parse(text).error.message;
  } catch {
    // Not the protocol's shape: a proxy in between. Its status has to do.
  }
  return wait && response.status === 429 ? `${message} Try again in ${wait} s.` : message;
}

/** Yields the data of each server-sent event; comments and other fields are left out. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop();
    for (const part of parts) {
      const lines = part.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (lines.length) yield lines.map((line) => line.slice(5).trim()).join("\n");
    }
  }
}

const sessionKey = {
  read() {
    try {
      return sessionStorage.getItem("gpt2xl.key");
    } catch {
      return null; // storage is switched off in this browser
    }
  },
  write(key) {
    try {
      sessionStorage.setItem("gpt2xl.key", key);
    } catch {
      // The key then lasts as long as the page.
    }
  },
};
