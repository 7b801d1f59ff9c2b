// Service worker: the page itself comes from the network where there is one, else from the cache.
const SHELL = "gpt2xl-page";
const FILES = ["./", "page.mjs", "gpt2xl.mjs", "ort.mjs", "tokenizers.mjs", "files.json"];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll(FILES)));
  self.skipWaiting();
});
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin) return;
  if (url.pathname.endsWith(".gzip")) return; // page.mjs keeps these itself
  event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(SHELL);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (reason) {
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw reason;
  }
}
