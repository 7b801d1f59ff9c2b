// node complete.mjs NODE_MODULES URL
//
// Prints as JSON what OpenAI's client gets from the server at URL.
import { createRequire } from "node:module";
import { join } from "node:path";

const [nodeModules, url] = process.argv.slice(2);
const { OpenAI } = createRequire(join(nodeModules, "_"))("openai");
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });

const request = { model: "demo", prompt: "The king", max_tokens: 8, seed: 1 };
const whole = await client.completions.create(request);

let streamed = "";
let usage;
const stream = await client.completions.create({
  ...request,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.text ?? "";
  usage = chunk.usage ?? usage;
}

const scored = await client.completions.create({
  model: "demo",
  prompt: ["Once upon a time", "The king"],
  max_tokens: 0,
  echo: true,
  logprobs: 2,
});

const embedded = await client.embeddings.create({ model: "demo", input: ["The king", "a"] });

async function errorOf(change) {
  try {
    await client.completions.create({ ...request, ...change });
  } catch (error) {
    return [error.constructor.name, error.status, error.param];
  }
}

console.log(
  JSON.stringify({
    models: (await client.models.list()).data.map((model) => model.id),
    text: whole.choices[0].text,
    streamed,
    usage,
    scored: scored.choices.map((choice) => choice.logprobs),
    vectors: embedded.data.map((each) => Array.from(each.embedding)),
    errors: [
      await errorOf({ temperature: -1 }),
      await errorOf({ model: "other" }),
      await errorOf({ prompt: { a: 1 } }),
    ],
  }),
);
