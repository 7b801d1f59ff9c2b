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

/** @param {number | null} count  null shows none */
export function showCount(count, contextLength) {
  const place = byId("count");
  const limit = contextLength === null ? "" : ` / ${contextLength}`;
  place.textContent = count === null ? "" : `${count}${limit} tokens`;
  place.classList.toggle("full", contextLength !== null && count >= contextLength);
}

/** On a small screen the settings stand below the text, and begin closed. */
export function closeSettings() {
  if (window.matchMedia("(max-width: 56rem)").matches) byId("settings").open = false;
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
export function generationReport({ count, seconds, reason, stopReason }, seed) {
  const speed = count > 1 ? ` (${(count / seconds).toFixed(1)} a second)` : "";
  const words = count === 1 ? "token" : "tokens";
  return `${count} ${words} in ${seconds.toFixed(1)} s${speed}, seed ${seed}.${ending(reason, stopReason)}`;
}

function ending(reason, stopReason) {
  if (reason === null) return " The server broke off.";
  if (reason !== "stop") return "";
  return stopReason ? ` Ended by ${JSON.stringify(stopReason)}.` : " The model ended the text.";
}
