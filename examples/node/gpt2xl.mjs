// Bundles of gpt2xl in JavaScript, by steps over the engine graph, with onnxruntime-node or onnxruntime-web.
// docs/bundle.md is the contract. Take this file along; it imports nothing.

const CAPACITY_STEP = 64; // positions that the cache grows by
const MASK = (1n << 128n) - 1n, WORD = 0xffffffffn;

/** What numpy.random.default_rng(seed).random() draws: SeedSequence and PCG64. */
export class Random {
  #state;
  #increment;

  /** @param {number | bigint} seed 0 to 2**128 - 1 */
  constructor(seed) {
    let value = BigInt(seed);
    if (value < 0n || value > MASK) throw new RangeError(`seed has to be 0 to 2**128 - 1, but is ${seed}.`);
    const hasher = (constant, factor) => (word) => {
      word ^= constant;
      constant = (constant * factor) & WORD;
      word = (word * constant) & WORD;
      return word ^ (word >> 16n);
    };
    const hash = hasher(0x43b0d7e5n, 0x931e8875n);
    const pool = [0n, 32n, 64n, 96n].map((shift) => hash((value >> shift) & WORD));
    for (let source = 0; source < 4; source++)
      for (let target = 0; target < 4; target++)
        if (source !== target) {
          const mixed = (0xca01f9ddn * pool[target] - 0x4973f715n * hash(pool[source])) & WORD;
          pool[target] = mixed ^ (mixed >> 16n);
        }
    const generate = hasher(0x8b51f9ddn, 0x58f38dedn);
    const words = Array.from({ length: 8 }, (_, i) => generate(pool[i % 4]));
    const number = (a, b, c, d) => (words[a] << 64n) | (words[b] << 96n) | words[c] | (words[d] << 32n);
    this.#increment = ((number(4, 5, 6, 7) << 1n) | 1n) & MASK;
    this.#state = this.#next((this.#increment + number(0, 1, 2, 3)) & MASK);
  }

  /** @returns {number} at least 0, below 1 */
  next() {
    this.#state = this.#next(this.#state);
    const word = (this.#state >> 64n) ^ (this.#state & 0xffffffffffffffffn);
    const bits = this.#state >> 122n;
    const rotated = BigInt.asUintN(64, (word >> bits) | (word << (64n - bits)));
    return Number(rotated >> 11n) / 2 ** 53;
  }

  #next(state) {
    return (state * 0x2360ed051fc65da44385df649fccf645n + this.#increment) & MASK;
  }
}

/** The ids of the `count` largest logits, the largest first, of a tie the lowest id; 0: all. */
export function largest(logits, count) {
  if (!(count > 0 && count < logits.length))
    return Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  const ids = [];
  for (let id = 0; id < logits.length; id++) {
    if (ids.length === count && logits[id] <= logits[ids[count - 1]]) continue;
    let at = ids.length === count ? count - 1 : ids.length;
    for (; at > 0 && logits[ids[at - 1]] < logits[id]; at--) ids[at] = ids[at - 1];
    ids[at] = id;
  }
  return ids;
}

/** The next id, as gpt2xl's sampler chooses it in float64; temperature 0 is greedy. */
export function choose(logits, { temperature, topK, random }) {
  const ids = largest(logits, temperature === 0 ? 1 : topK);
  if (!Number.isFinite(logits[ids[0]])) throw new Error("no logit is finite: the model is damaged.");
  if (temperature === 0) return ids[0];
  let total = 0;
  const cumulative = ids.map((id) => (total += Math.exp((logits[id] - logits[ids[0]]) / temperature)));
  const aim = random.next() * total;
  const at = cumulative.findIndex((sum) => sum > aim);
  return ids[at < 0 ? ids.length - 1 : at];
}

/** The bytes of every id, by id. */
function tokenBytes(tokenizerJson) {
  const itself = (c) => (c >= 0x21 && c < 0x7f) || (c >= 0xa1 && c < 0xad) || (c >= 0xae && c < 0x100);
  const alphabet = new Map();
  for (let byte = 0, other = 0x100; byte < 256; byte++)
    alphabet.set(itself(byte) ? byte : other++, byte);
  const bytes = new Map();
  const utf8 = new TextEncoder();
  for (const [token, id] of Object.entries(tokenizerJson.model.vocab)) {
    const found = Array.from(token, (character) => alphabet.get(character.codePointAt(0)));
    bytes.set(id, found.includes(undefined) ? utf8.encode(token) : Uint8Array.from(found));
  }
  for (const { id, content } of tokenizerJson.added_tokens ?? []) bytes.set(id, utf8.encode(content));
  return bytes;
}

const ARRAYS = { float32: Float32Array, float16: globalThis.Float16Array ?? Uint16Array, int8: Int8Array };

/** The keys and values of one text. */
class Cache {
  length = 0;
  capacity = 0;
  tensors = {};

  constructor(ort, session, config) {
    this.ort = ort;
    this.heads = config.n_head;
    this.width = config.n_embd / config.n_head;
    this.most = config.n_positions;
    const inputs = session.inputMetadata.filter(({ name }) => name.startsWith("past_key_values."));
    this.types = Object.fromEntries(inputs.map(({ name, type }) => [name, type]));
  }

  /** Make room for `length` positions; what is there is kept. */
  reserve(length) {
    if (length <= this.capacity) return;
    const old = this.capacity;
    this.capacity = Math.min(Math.ceil(length / CAPACITY_STEP) * CAPACITY_STEP, this.most);
    for (const [name, type] of Object.entries(this.types)) {
      const data = new ARRAYS[type](this.heads * this.capacity * this.width);
      const before = this.tensors[name]?.data;
      for (let head = 0; before && head < this.heads; head++) {
        const start = head * old * this.width;
        data.set(before.subarray(start, start + this.length * this.width), head * this.capacity * this.width);
      }
      this.tensors[name] = new this.ort.Tensor(type, data, [1, this.heads, this.capacity, this.width]);
    }
  }
}

export class Model {
  #bytes;
  #ends;

  /**
   * @param files.ort the module onnxruntime-node or onnxruntime-web
   * @param files.session of the engine graph
   * @param files.config content of config.json
   * @param files.tokenizerJson content of tokenizer.json
   * @param files.tokenizer of @huggingface/tokenizers, or what else has encode(text).ids
   */
  constructor({ ort, session, config, tokenizerJson, tokenizer }) {
    Object.assign(this, { ort, session, config, tokenizer });
    // Only onnxruntime-node writes into tensors that it is given for outputs.
    this.writesInPlace = Boolean(ort.env.versions?.node);
    this.#bytes = tokenBytes(tokenizerJson);
    this.#ends = new Set([config.eos_token_id ?? []].flat());
  }

  encode(text) {
    return Array.from(this.tokenizer.encode(text).ids, Number);
  }

  /** All of `stream`: { text, ids, finishReason }. */
  async generate(prompt, options = {}) {
    const result = { text: "", ids: [], finishReason: null };
    for await (const piece of this.stream(prompt, options)) {
      result.text += piece.text;
      if (piece.finishReason !== "stop") result.ids.push(piece.id);
      result.finishReason = piece.finishReason;
    }
    return result;
  }

  /**
   * Yield { id, text, finishReason } for each token; the last one's finishReason is "stop" or "length".
   * Leave the loop to end the text early.
   *
   * @param {string | number[]} prompt
   */
  async *stream(prompt, options = {}) {
    const { maxNewTokens = 128, temperature = 0.8, topK = 40, stopAtEndOfText = true } = options;
    const { seed = Math.floor(Math.random() * 2 ** 32) } = options;
    const start = this.config.bos_token_id ?? [...this.#ends][0];
    let fed = typeof prompt === "string" ? this.encode(prompt) : [...prompt];
    if (!fed.length) fed = [start];
    const room = this.config.n_positions + 1 - fed.length; // the last token is not fed back
    if (room < 1)
      throw new RangeError(`the prompt has ${fed.length} tokens, but the context is ${room + fed.length - 1}.`);
    const count = Math.min(maxNewTokens, room);
    const random = new Random(seed), cache = new Cache(this.ort, this.session, this.config);
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    for (let number = 1; number <= count; number++) {
      const id = choose(await this.#step(fed, cache), { temperature, topK, random });
      const stops = stopAtEndOfText && this.#ends.has(id);
      const finishReason = stops ? "stop" : number === count ? "length" : null;
      const bytes = (!stops && this.#bytes.get(id)) || new Uint8Array();
      yield { id, text: decoder.decode(bytes, { stream: !finishReason }), finishReason };
      if (finishReason) return;
      fed = [id];
    }
  }

  /** Feed ids; the logits of the last one. */
  async #step(ids, cache) {
    const { Tensor } = this.ort;
    const total = cache.length + ids.length;
    cache.reserve(total);
    const row = (length, value) => new Tensor("int64", BigInt64Array.from({ length }, value), [1, length]);
    const feeds = {
      input_ids: row(ids.length, (_, i) => BigInt(ids[i])),
      attention_mask: row(total, () => 1n),
      position_ids: row(ids.length, (_, i) => BigInt(cache.length + i)),
      ...cache.tensors,
    };
    const present = (past) => past.replace("past_key_values", "present");
    const names = Object.keys(cache.tensors);
    // Past and present are one buffer, which the graph appends to; else it returns a copy.
    const outputs = names.map((name) => [present(name), this.writesInPlace ? cache.tensors[name] : null]);
    const results = await this.session.run(feeds, { logits: null, ...Object.fromEntries(outputs) });
    if (!this.writesInPlace) for (const name of names) cache.tensors[name] = results[present(name)];
    cache.length = total;
    return results.logits.data;
  }
}

/**
 * Load a bundle's folder in Node.
 *
 * @param {string} folder
 * @param modules.ort the module onnxruntime-node
 * @param modules.Tokenizer of @huggingface/tokenizers
 */
export async function loadFolder(folder, { ort, Tokenizer }, sessionOptions = {}) {
  const { readFile, readdir } = await import("node:fs/promises");
  const { join } = await import("node:path");
  const json = async (name) => JSON.parse(await readFile(join(folder, name), "utf8"));
  const graph = (await readdir(join(folder, "onnx"))).find((name) => /^engine.*\.onnx$/.test(name));
  if (!graph) throw new Error(`'${folder}' has no onnx/engine*.onnx: is it a bundle of gpt2xl?`);
  const [config, tokenizerJson, tokenizerConfig] = await Promise.all(
    ["config.json", "tokenizer.json", "tokenizer_config.json"].map(json),
  );
  const options = { logSeverityLevel: 3, enableMemPattern: false, ...sessionOptions };
  const session = await ort.InferenceSession.create(join(folder, "onnx", graph), options);
  return new Model({ ort, session, config, tokenizerJson, tokenizer: new Tokenizer(tokenizerJson, tokenizerConfig) });
}
