// Adapter for llama.cpp through node-llama-cpp's prebuilt binding: MODEL is a GGUF file.
// The same options and the same line as measure.py; --modules names the folder with node_modules.
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {dirname, join, resolve} from 'node:path';
import {pathToFileURL} from 'node:url';
import {parseArgs} from 'node:util';

const {values, positionals} = parseArgs({allowPositionals: true, options: {
    prompt: {type: 'string', default: '64'},
    rows: {type: 'string', default: '1'},
    new: {type: 'string', default: '32'},
    threads: {type: 'string', default: '2'},
    vocabulary: {type: 'string', default: '50257'},
    modules: {type: 'string', default: '.'},
}});
const [prompt, rows, fresh, threads, vocabulary] =
    ['prompt', 'rows', 'new', 'threads', 'vocabulary'].map(name => Number(values[name]));

const entry = createRequire(join(resolve(values.modules), 'any.js')).resolve('node-llama-cpp');
const {getLlama} = await import(pathToFileURL(entry));
const {version} = JSON.parse(readFileSync(join(dirname(entry), '..', 'package.json')));

/** Uniform ids below the vocabulary (mulberry32). */
function randomIds(seed) {
    return Array.from({length: prompt}, () => {
        seed = (seed + 0x6D2B79F5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) % vocabulary;
    });
}

/** Feed each sequence its ids, all at once; when the last row's nth token was there, in seconds. */
async function generate(sequences, count, seed) {
    const seconds = Array(count).fill(0);
    const start = performance.now();
    await Promise.all(sequences.map(async (sequence, row) => {
        let step = 0;
        const options = {temperature: 0, yieldEogToken: true};
        for await (const _ of sequence.evaluate(randomIds(seed + row), options)) {
            const now = (performance.now() - start) / 1e3;
            seconds[step] = Math.max(seconds[step], now);
            if (++step === count) break;
        }
        await sequence.clearHistory();
    }));
    return seconds;
}

const median = values => values.toSorted((a, b) => a - b)[values.length >> 1];

const llama = await getLlama({gpu: false, build: 'never', logLevel: 'error'});
const start = performance.now();
const model = await llama.loadModel({modelPath: positionals[0], gpuLayers: 0});
const session = await model.createContext({
    contextSize: prompt + fresh, // a row; allocated at once
    sequences: rows,
    batchSize: 512,
    threads: {ideal: threads, min: threads},
});
const load = (performance.now() - start) / 1e3;
const sequences = Array.from({length: rows}, () => session.getSequence());
await generate(sequences, 2, 1000);
const warmAt = Date.now() / 1e3;
const seconds = await generate(sequences, fresh, 1);
const step = median(seconds.slice(1).map((t, i) => t - seconds[i]));
console.log(JSON.stringify({
    version: `node-llama-cpp ${version}`,
    load_s: load,
    warm_at: warmAt,
    prefill_tok_s: rows * prompt / seconds[0],
    decode_tok_s: rows / step,
    peak_rss_mb: process.resourceUsage().maxRSS / 1024,
}));
process.exit(0);
