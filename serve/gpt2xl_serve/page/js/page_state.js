/** The parts of the page that only show: messages, counts, the legend. */

import { element } from "./settings.js";
import { LEVELS } from "./tokens.js";

const byId = (id) => document.getElementById(id);

export function showStatus(text) {
  byId("status").textContent = text;
}

/** @param {string} text  "" takes the message away */
export function showAlert(text) {
  byId("alert-text").textContent = text;
  byId("alert").hidden = text === "";
}

export function showCount(count, contextLength) {
  const place = byId("count");
  place.textContent = contextLength ? `${count} / ${contextLength} tokens` : `${count} tokens`;
  place.classList.toggle("full", contextLength !== null && count >= contextLength);
}

export function prepareLegend() {
  for (const { name, range } of LEVELS) {
    const item = element("li");
    item.append(element("span", { className: `token ${name}`, textContent: name }), ` ${range}`);
    byId("legend").append(item);
  }
  const box = byId("show-colours");
  box.addEventListener("change", () => document.body.classList.toggle("plain", !box.checked));
  byId("close-alert").addEventListener("click", () => showAlert(""));
}

/** "100 tokens in 2.4 s (41.7 a second), seed 7. The model ended the text." */
export function generationReport({ count, seconds, reason }, seed) {
  const speed = seconds > 0 ? ` (${(count / seconds).toFixed(1)} a second)` : "";
  const end = reason === "stop" ? " Ended by the model or a stop string." : "";
  return `${count} ${count === 1 ? "token" : "tokens"} in ${seconds.toFixed(1)} s${speed}, seed ${seed}.${end}`;
}
