// node stream.mjs BUNDLE [PROMPT] [SEED]
//
// Streams a text, by steps over the engine graph.
import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-node";

import { loadFolder } from "./gpt2xl.mjs";

const [bundle, prompt = "Once upon a time", seed = "1"] = process.argv.slice(2);
if (!bundle) {
  console.error("usage: node stream.mjs BUNDLE [PROMPT] [SEED]");
  process.exit(2);
}
const model = await loadFolder(bundle, { ort, Tokenizer });
process.stdout.write(prompt);
for await (const piece of model.stream(prompt, { seed: BigInt(seed), maxNewTokens: 60 }))
  process.stdout.write(piece.text);
console.log();
