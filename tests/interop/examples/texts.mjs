// node texts.mjs BUNDLE < CASES
//
// Prints as JSON, for every case, what gpt2xl.mjs and the graph from ids to text give.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-node";

import { loadFolder } from "./gpt2xl.mjs";

const bundle = process.argv[2];
const cases = JSON.parse(readFileSync(0, "utf8"));
const model = await loadFolder(bundle, { ort, Tokenizer });
const graph = readdirSync(join(bundle, "onnx")).find((name) => name.startsWith("ids_to_text"));
const session = await ort.InferenceSession.create(join(bundle, "onnx", graph), { logSeverityLevel: 3 });
const int64 = (values, dims) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);

async function whole({ promptIds, seed, temperature }) {
  const { text, ids, finish_reason } = await session.run({
    input_ids: int64(promptIds, [promptIds.length]),
    max_new_tokens: int64([40], []),
    temperature: new ort.Tensor("float64", [temperature], []),
    top_k: int64([40], []),
    seed: int64([seed], []),
    stop_at_end_of_text: new ort.Tensor("bool", [true], []),
  });
  return { text: text.data[0], ids: Array.from(ids.data, Number), finishReason: finish_reason.data[0] };
}

const found = [];
for (const { prompt, promptIds, seed, temperature } of cases) {
  const options = { seed, temperature, topK: 40, maxNewTokens: 40 };
  found.push({
    promptIds: model.encode(prompt),
    steps: await model.generate(prompt, options),
    whole: await whole({ promptIds, seed, temperature }),
  });
}
console.log(JSON.stringify({ found }));
