// node transformers_js.mjs BUNDLE [PROMPT]
//
// transformers.js takes the portable graph: config.json of the bundle names the file and its type.
import { basename, dirname, resolve } from "node:path";

import { env, pipeline } from "@huggingface/transformers";

const [bundle, prompt = "Once upon a time"] = process.argv.slice(2);
if (!bundle) {
  console.error("usage: node transformers_js.mjs BUNDLE [PROMPT]");
  process.exit(2);
}
env.allowRemoteModels = false;
env.localModelPath = dirname(resolve(bundle));
const generate = await pipeline("text-generation", basename(resolve(bundle)));
const [{ generated_text }] = await generate(prompt, { max_new_tokens: 60, do_sample: false });
console.log(generated_text);
