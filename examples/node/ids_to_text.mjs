// node ids_to_text.mjs BUNDLE [PROMPT] [SEED]
//
// One run for a whole text, by the graph that `gpt2xl export --text` adds.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-node";

const [bundle, prompt = "Once upon a time", seed = "1"] = process.argv.slice(2);
const graph = bundle && readdirSync(join(bundle, "onnx")).find((name) => name.startsWith("ids_to_text"));
if (!graph) {
  console.error("usage: node ids_to_text.mjs BUNDLE [PROMPT] [SEED]; `gpt2xl export --text` makes such a bundle");
  process.exit(2);
}
const json = (name) => JSON.parse(readFileSync(join(bundle, name), "utf8"));
const tokenizer = new Tokenizer(json("tokenizer.json"), json("tokenizer_config.json"));
const session = await ort.InferenceSession.create(join(bundle, "onnx", graph), { logSeverityLevel: 3 });

const ids = BigInt64Array.from(tokenizer.encode(prompt).ids, BigInt);
const int64 = (value) => new ort.Tensor("int64", [BigInt(value)], []);
const { text, finish_reason } = await session.run({
  input_ids: new ort.Tensor("int64", ids, [ids.length]),
  max_new_tokens: int64(60),
  temperature: new ort.Tensor("float64", [0.8], []),
  top_k: int64(40),
  seed: int64(seed),
  stop_at_end_of_text: new ort.Tensor("bool", [true], []),
});
console.log(prompt + text.data[0]);
console.error(`finish_reason: ${finish_reason.data[0]}`);
