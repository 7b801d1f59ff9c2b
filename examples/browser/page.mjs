// The page: downloads a bundle of gpt2xl once, keeps it for use without a network, and streams texts.
import { Model } from "./gpt2xl.mjs";
import * as ort from "./ort.mjs";
import { Tokenizer } from "./tokenizers.mjs";

const CACHE = "gpt2xl-data"; // the service worker reads it, too
const element = (id) => document.getElementById(id);

/** A file in gzip, from the cache or the network; `report` gets the bytes of each part. */
async function download(url, report) {
  const cache = globalThis.caches && (await caches.open(CACHE)); // only on https and localhost
  let response = await cache?.match(url);
  const isNew = !response;
  response ??= await fetch(url);
  if (!response.ok) throw new Error(`${url}: the server answered ${response.status}`);
  const kept = isNew && cache?.put(url, response.clone()).catch(() => {}); // no room: then not offline
  const counted = new TransformStream({
    transform(part, output) {
      report(part.length);
      output.enqueue(part);
    },
  });
  const plain = response.body.pipeThrough(counted).pipeThrough(new DecompressionStream("gzip"));
  const content = await new Response(plain).arrayBuffer();
  await kept;
  return new Uint8Array(content);
}

async function load(report) {
  const { folder, files } = await (await fetch("files.json")).json();
  const total = Object.values(files).reduce((sum, size) => sum + size, 0);
  let done = 0;
  const found = {};
  for (const name of Object.keys(files))
    found[name] = await download(`${folder}/${name}`, (size) => report((done += size), total));
  await forget(folder);
  const json = (name) => JSON.parse(new TextDecoder().decode(found[`${name}.gzip`]));
  ort.env.wasm.wasmBinary = found["ort.wasm.gzip"].buffer;
  ort.env.wasm.numThreads = 1; // more need headers that a plain host does not send
  const graph = Object.keys(found).find((name) => name.startsWith("engine"));
  const weights = Object.keys(found).find((name) => name.includes(".onnx_data"));
  const session = await ort.InferenceSession.create(found[graph], {
    externalData: [{ path: weights.replace(".gzip", ""), data: found[weights] }],
    enableMemPattern: false,
    logSeverityLevel: 3,
  });
  const tokenizerJson = json("tokenizer.json");
  const tokenizer = new Tokenizer(tokenizerJson, json("tokenizer_config.json"));
  return new Model({ ort, session, config: json("config.json"), tokenizerJson, tokenizer });
}

/** Drop cached files of other bundles. */
async function forget(folder) {
  const cache = globalThis.caches && (await caches.open(CACHE));
  for (const request of (await cache?.keys()) ?? [])
    if (!request.url.includes(`/${folder}/`)) await cache.delete(request);
}

let stopped = false;

async function write(model) {
  const prompt = element("prompt").value;
  const value = (id) => Number(element(id).value);
  const options = { maxNewTokens: value("tokens"), temperature: value("temperature"), seed: value("seed") };
  stopped = false;
  element("text").textContent = prompt;
  const start = performance.now();
  let count = 0;
  for await (const piece of model.stream(prompt, options)) {
    element("text").append(piece.text);
    count++;
    if (stopped) break;
    await new Promise((done) => setTimeout(done)); // let the page be drawn
  }
  const seconds = (performance.now() - start) / 1000;
  return `${count} tokens, ${(count / seconds).toFixed(0)} a second.`;
}

/** Run `work`, and say what comes of it. */
async function shown(work) {
  for (const id of ["options", "write"]) element(id).disabled = id === "write";
  element("stop").disabled = false;
  try {
    element("status").textContent = await work();
  } catch (reason) {
    element("status").textContent = `It failed: ${reason.message}`;
  }
  element("write").disabled = false;
  element("stop").disabled = true;
}

element("stop").addEventListener("click", () => (stopped = true));
navigator.serviceWorker?.register("worker.js");
try {
  const model = await load((done, total) => {
    element("progress").value = done / total;
    const mega = (bytes) => (bytes / 1e6).toFixed(1);
    element("status").textContent = `Downloading the model: ${mega(done)} of ${mega(total)} MB.`;
  });
  globalThis.gpt2xl = model; // for the console
  element("progress").hidden = true;
  element("status").textContent = "Ready; the next visit needs no network.";
  element("options").disabled = false;
  element("form").addEventListener("submit", (event) => {
    event.preventDefault();
    shown(() => write(model));
  });
} catch (reason) {
  element("status").textContent = `The model cannot be loaded: ${reason.message}`;
}
