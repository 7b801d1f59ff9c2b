// node assemble.mjs BUNDLE SITE
//
// Copies the page, the libraries from ../node/node_modules and the bundle into the new folder SITE, which any static
// host can serve. Large files are compressed here, so that no host has to.
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const [bundle, site] = process.argv.slice(2);
if (!site || existsSync(site)) {
  console.error(site ? `'${site}' exists already` : "usage: node assemble.mjs BUNDLE SITE");
  process.exit(site ? 1 : 2);
}
const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "..", "node", "node_modules");
const web = join(modules, "onnxruntime-web", "dist");
const onnx = readdirSync(join(bundle, "onnx"));
const engine = onnx.find((name) => /^engine.*\.onnx$/.test(name));
const weights = onnx.find((name) => name.endsWith(".onnx_data"));

const compressed = {};
for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json", `onnx/${engine}`, `onnx/${weights}`])
  compressed[`${name.replace("onnx/", "")}.gzip`] = gzipSync(readFileSync(join(bundle, name)), { level: 9 });
compressed["ort.wasm.gzip"] = gzipSync(readFileSync(join(web, "ort-wasm-simd-threaded.wasm")), { level: 9 });

const hash = createHash("sha256");
for (const content of Object.values(compressed)) hash.update(content);
const folder = `data-${hash.digest("hex").slice(0, 12)}`;
mkdirSync(join(site, folder), { recursive: true });
for (const [name, content] of Object.entries(compressed)) writeFileSync(join(site, folder, name), content);
const files = Object.fromEntries(Object.entries(compressed).map(([name, content]) => [name, content.length]));
writeFileSync(join(site, "files.json"), JSON.stringify({ folder, files }));
for (const name of ["index.html", "page.mjs", "worker.js"]) copyFileSync(join(here, name), join(site, name));
copyFileSync(join(here, "..", "node", "gpt2xl.mjs"), join(site, "gpt2xl.mjs"));
copyFileSync(join(web, "ort.wasm.bundle.min.mjs"), join(site, "ort.mjs"));
const tokenizers = join(modules, "@huggingface", "tokenizers", "dist", "tokenizers.min.mjs");
copyFileSync(tokenizers, join(site, "tokenizers.mjs"));
const total = Object.values(files).reduce((sum, size) => sum + size, 0);
console.log(`${site}: ${(total / 1e6).toFixed(1)} MB to download, compressed`);
