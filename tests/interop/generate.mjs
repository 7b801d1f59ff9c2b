// node generate.mjs NODE_MODULES BUNDLE NEW_TOKENS PROMPT...
//
// Prints as JSON, for every prompt: its ids, the greedy tokens of the prompt alone, and those of all
// prompts as one batch, padded left. Loads by name alone: config.json says which dtype there is.
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";

const [nodeModules, bundle, newTokens, ...prompts] = process.argv.slice(2);
const { AutoModelForCausalLM, AutoTokenizer, env } = createRequire(join(nodeModules, "_"))(
  "@huggingface/transformers",
);
env.allowRemoteModels = false;
env.localModelPath = dirname(bundle);

const tokenizer = await AutoTokenizer.from_pretrained(basename(bundle));
const model = await AutoModelForCausalLM.from_pretrained(basename(bundle));
tokenizer.padding_side = "left";

async function greedy(texts) {
  const inputs = tokenizer(texts, { padding: true });
  const output = await model.generate({
    ...inputs,
    do_sample: false,
    max_new_tokens: Number(newTokens),
  });
  const width = inputs.input_ids.dims[1];
  return output.tolist().map((row) => row.slice(width).map(Number));
}

const alone = [];
for (const prompt of prompts) alone.push((await greedy([prompt]))[0]);
const ids = prompts.map((prompt) => tokenizer.encode(prompt));
console.log(JSON.stringify({ ids, alone, batch: await greedy(prompts) }));
