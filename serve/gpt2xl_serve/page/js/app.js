/** Joins the parts of the page: what each button and key does. */

import { Alternatives } from "./alternatives.js";
import { Api, ApiError } from "./api.js";
import { Comparison } from "./comparison.js";
import { askForKey, prepareDialogs } from "./dialogs.js";
import { TextDocument } from "./document.js";
import { Editor } from "./editor.js";
import { generate, score } from "./generation.js";
import { listenToKeys } from "./keys.js";
import { closeSettings, generationReport, prepareLegend, showAlert, showCount, showStatus } from "./page_state.js";
import { Runner } from "./runner.js";
import { SessionList } from "./session_list.js";
import { SessionKeeper } from "./session_keeper.js";
import { currentSession } from "./sessions.js";
import { SettingsForm, areDefaults, defaultSettings, seedOf } from "./settings.js";

const byId = (id) => document.getElementById(id);
const COUNT_MS = 300;

const api = new Api(askForKey);
const doc = new TextDocument();
const editor = new Editor(byId("document"), doc, {
  label: "Text",
  id: "text",
  placeholder: "Begin a text, and the model continues it: Once upon a time, there was",
});
const comparison = new Comparison(byId("comparison"));
const form = new SettingsForm(byId("fields"));
const alternatives = new Alternatives(byId("alternatives"), byId("announcement"));
const sessions = new SessionList();
const keeper = new SessionKeeper(doc, currentSession());
const runner = new Runner();
let model = { id: "", contextLength: null };
let counting = 0;

// What runs

/** Runs one thing at a time, which Stop ends; shows its error as a sentence. */
function run(action) {
  return runner.run(
    (signal) => {
      showAlert("");
      return action(signal);
    },
    (error) => {
      if (error.name === "AbortError") showStatus("Stopped.");
      else showAlert(error instanceof ApiError ? error.message : `The connection broke: ${error.message}`);
    },
  );
}

function runGenerate() {
  if (keeper.session.isComparing) return runComparison();
  return run((signal) => {
    doc.beginStep();
    return continueDocument(signal);
  });
}

async function continueDocument(signal) {
  showStatus("Generating …");
  const seed = seedOf(keeper.session.settings.a);
  const result = await generate({ api, doc, settings: keeper.session.settings.a, seed, model: model.id, signal });
  showStatus(generationReport(result, seed));
}

function runComparison() {
  return run(async (signal) => {
    comparison.begin(doc.text, doc.tokens);
    await continuePanes(comparison.panes, signal);
  });
}

/** Both with one seed, unless the settings name two: what differs is then due to the settings. */
async function continuePanes(panes, signal) {
  showStatus("Generating …");
  const shared = seedOf(keeper.session.settings.a);
  const reports = panes.map(async ({ name, doc: own }) => {
    const settings = keeper.session.settings[name];
    const seed = settings.seed === "" ? shared : Number(settings.seed);
    const { base } = comparison;
    const result = await generate({ api, doc: own, base, settings, seed, model: model.id, signal });
    return `${name.toUpperCase()}: ${generationReport(result, seed)}`;
  });
  const results = await Promise.allSettled(reports);
  const failed = results.find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
  showStatus(results.map(({ value }) => value).join(" "));
}

function runScore() {
  if (doc.text === "") return showStatus("There is no text to score.");
  return run(async (signal) => {
    showStatus("Scoring …");
    const { count, value } = await score({ api, doc, model: model.id, signal });
    const words = value < 1000 ? value.toPrecision(4) : Math.round(value).toLocaleString("en");
    showStatus(count ? `Perplexity ${words} over ${count} tokens.` : "A single token has no perplexity.");
  });
}

// Alternatives: the text is cut, and continued from there

/** @param {import("./tokens.js").Token[]} tokens  of the text that is left */
async function goOn(from, text, tokens) {
  await runner.stop();
  from.doc.replace(text, tokens);
  const pane = comparison.paneOf(from);
  await run((signal) => (pane ? continuePanes([pane], signal) : continueDocument(signal)));
}

function choose({ editor: from, token, text }) {
  const end = token.start + text.length;
  const [, logprob] = token.top.find(([other]) => other === text);
  const chosen = { ...token, end, logprob };
  return goOn(from, from.doc.text.slice(0, token.start) + text, [...from.doc.tokensBefore(token.start), chosen]);
}

function cutAfter({ editor: from, token }) {
  return goOn(from, from.doc.text.slice(0, token.end), from.doc.tokensBefore(token.end));
}

function keepPane(pane) {
  const { text, tokens } = comparison.wholeOf(pane);
  keeper.session.settings.a = { ...keeper.session.settings[pane.name] };
  doc.replace(text, tokens);
  setComparing(false);
  editor.field.focus();
}

// Sessions

async function open(session) {
  await runner.stop();
  keeper.open(session);
  comparison.begin("", []);
  setComparing(session.isComparing);
}

function setComparing(isComparing) {
  keeper.session.isComparing = isComparing;
  byId("compare").setAttribute("aria-pressed", String(isComparing));
  byId("comparison").hidden = !isComparing;
  byId("variant").hidden = !isComparing;
  showVariant(isComparing ? variant() : "a");
  keeper.saveSoon();
}

function variant() {
  return document.querySelector("[name=variant]:checked").value;
}

function showVariant(name) {
  document.querySelector(`[name=variant][value=${name}]`).checked = true;
  form.show(keeper.session.settings[name]);
  comparison.describe(keeper.session.settings);
}

// What shows

function showBusy() {
  const { isBusy } = runner;
  const [start, end] = [byId("generate"), byId("stop")];
  const [from, to] = isBusy ? [start, end] : [end, start];
  const hadFocus = document.activeElement === from;
  for (const id of ["generate", "score", "compare"]) byId(id).disabled = isBusy;
  end.disabled = !isBusy;
  if (hadFocus) to.focus(); // a disabled button loses it
  byId("undo").disabled = isBusy || !doc.canUndo;
  byId("redo").disabled = isBusy || !doc.canRedo;
  editor.lock(isBusy);
}

function countSoon() {
  clearTimeout(counting);
  if (!runner.isBusy) counting = setTimeout(count, COUNT_MS);
}

async function count() {
  const { text } = doc;
  const tokens = text === "" ? 0 : await api.count(text);
  if (text === doc.text) showCount(tokens, model.contextLength);
}

function undo() {
  if (!runner.isBusy) doc.undo();
}

function redo() {
  if (!runner.isBusy) doc.redo();
}

function escape() {
  if (alternatives.isOpen) alternatives.hide();
  else runner.stop();
}

function listen() {
  listenToKeys({ generate: runGenerate, escape, undo, redo });
  const actions = { generate: runGenerate, stop: () => runner.stop(), undo, redo, score: runScore };
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
  byId("compare").addEventListener("click", () => {
    const { settings, isComparing } = keeper.session;
    if (areDefaults(settings.b)) settings.b = { ...settings.a };
    setComparing(!isComparing);
  });
  byId("reset").addEventListener("click", () => {
    keeper.session.settings[variant()] = defaultSettings();
    showVariant(variant());
    keeper.saveSoon();
  });
  byId("variant").addEventListener("change", () => showVariant(variant()));
  byId("open-sessions").addEventListener("click", () => {
    keeper.save();
    sessions.show(keeper.session.id);
  });
  for (const changing of [doc, runner]) {
    changing.addEventListener("change", () => {
      showBusy();
      countSoon();
      keeper.saveSoon();
    });
  }
  form.addEventListener("change", () => {
    comparison.describe(keeper.session.settings);
    keeper.saveSoon();
  });
  sessions.addEventListener("open", ({ detail }) => open(detail.session));
  sessions.addEventListener("renamed", ({ detail: { id, name } }) => {
    if (id === keeper.session.id) keeper.session.name = name;
    keeper.save();
  });
  comparison.addEventListener("keep", ({ detail }) => keepPane(detail.pane));
  for (const shown of [editor, ...comparison.panes.map((pane) => pane.editor)]) alternatives.follow(shown);
  alternatives.addEventListener("choose", ({ detail }) => choose(detail));
  alternatives.addEventListener("cut", ({ detail }) => cutAfter(detail));
}

async function showModel() {
  try {
    model = await api.model();
    byId("model-name").textContent = model.id;
    if (model.contextLength) form.setContextLength(model.contextLength);
    countSoon();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showAlert(error.message);
  }
}

prepareDialogs();
closeSettings();
prepareLegend();
listen();
open(keeper.session);
showModel();
