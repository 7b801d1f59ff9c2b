// node languages.mjs BUNDLE WAY TOKENS, in a folder with the packages of examples/node
//
// Prints tokens a second of the second text: by steps, by one run (graph), or by transformers.js.
import { readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";

import { Tokenizer } from "@huggingface/tokenizers";

import { loadFolder } from "./gpt2xl.mjs";

const [bundle, way, tokens] = process.argv.slice(2);
const count = Number(tokens);
// transformers.js brings an onnxruntime-node of its own, and a process can load one only.
const ort = way === "transformers.js" ? null : await import("onnxruntime-node");
const PROMPT = "Once upon a time";

async function steps() {
  const model = await loadFolder(bundle, { ort, Tokenizer });
  return () => model.generate(PROMPT, { maxNewTokens: count, seed: 1, stopAtEndOfText: false });
}

async function graph() {
  const name = readdirSync(join(bundle, "onnx")).find((file) => file.startsWith("ids_to_text"));
  const session = await ort.InferenceSession.create(join(bundle, "onnx", name), { logSeverityLevel: 3 });
  const int64 = (values, dims) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);
  const ids = (await loadFolder(bundle, { ort, Tokenizer })).encode(PROMPT);
  return () =>
    session.run({
      input_ids: int64(ids, [ids.length]),
      max_new_tokens: int64([count], []),
      temperature: new ort.Tensor("float64", [0.8], []),
      top_k: int64([40], []),
      seed: int64([1], []),
      stop_at_end_of_text: new ort.Tensor("bool", [false], []),
    });
}

async function transformersJs() {
  const { AutoModelForCausalLM, AutoTokenizer, env } = await import("@huggingface/transformers");
  env.allowRemoteModels = false;
  env.localModelPath = dirname(bundle);
  const model = await AutoModelForCausalLM.from_pretrained(basename(bundle));
  const inputs = (await AutoTokenizer.from_pretrained(basename(bundle)))(PROMPT);
  const options = { do_sample: true, top_k: 40, temperature: 0.8, min_new_tokens: count, max_new_tokens: count };
  return () => model.generate({ ...inputs, ...options });
}

const run = await { steps, graph, "transformers.js": transformersJs }[way]();
await run();
const start = performance.now();
await run();
console.log((count / (performance.now() - start)) * 1000);
