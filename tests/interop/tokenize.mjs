// node tokenize.mjs NODE_MODULES BUNDLE TEXT...
//
// Prints as JSON the ids of every text and what they decode to.
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";

const [nodeModules, bundle, ...texts] = process.argv.slice(2);
const { AutoTokenizer, env } = createRequire(join(nodeModules, "_"))("@huggingface/transformers");
env.allowRemoteModels = false;
env.localModelPath = dirname(bundle);

const tokenizer = await AutoTokenizer.from_pretrained(basename(bundle));
const ids = texts.map((text) => tokenizer.encode(text));
console.log(JSON.stringify({ ids, texts: ids.map((row) => tokenizer.decode(row)) }));
