/** The settings of a generation: their fields on the page, and their part of a request. */

const NUMBERS = [
  { name: "temperature", min: 0, max: 2, step: 0.05, value: 0.8, hint: "0 always takes the likeliest token" },
  { name: "top_k", min: 0, max: 200, step: 1, value: 40, hint: "only the k likeliest tokens; 0 is off" },
  { name: "top_p", min: 0, max: 1, step: 0.01, value: 0.95, hint: "only the likeliest with this sum; 1 is off" },
  { name: "min_p", min: 0, max: 1, step: 0.01, value: 0, hint: "at least this share of the likeliest; 0 is off" },
  { name: "repetition_penalty", min: 1, max: 2, step: 0.01, value: 1, hint: "above 1 repeats less; 1 is off" },
  { name: "max_tokens", min: 1, max: 1024, step: 1, value: 100, hint: "how many tokens to generate" },
];

/** @returns {object} what a new session starts with */
export function defaultSettings() {
  const numbers = Object.fromEntries(NUMBERS.map(({ name, value }) => [name, value]));
  return { ...numbers, seed: "", stop: "", slide: false };
}

/** Known settings of stored ones, each in its range; what is missing or wrong has its default. */
export function checkedSettings(stored) {
  const settings = defaultSettings();
  for (const { name, min, max } of NUMBERS) {
    if (Number.isFinite(stored?.[name])) settings[name] = Math.min(max, Math.max(min, stored[name]));
  }
  if (typeof stored?.seed === "string" && /^\d*$/.test(stored.seed)) settings.seed = stored.seed;
  if (typeof stored?.stop === "string") settings.stop = stored.stop;
  settings.slide = stored?.slide === true;
  return settings;
}

/** The seed of the settings, or a random one. */
export function seedOf(settings) {
  return settings.seed === "" ? Math.floor(Math.random() * 2 ** 31) : Number(settings.seed);
}

/** The fields of a request that the settings decide. */
export function requestFields(settings, seed) {
  const fields = Object.fromEntries(NUMBERS.map(({ name }) => [name, settings[name]]));
  const stop = settings.stop
    .split("\n")
    .filter(Boolean)
    .map((line) => line.replaceAll("\\n", "\n"));
  if (stop.length) fields.stop = stop;
  if (settings.slide) fields.overflow = "slide";
  return { ...fields, seed };
}

/** "temperature 0.8, top_k 40": the settings that differ from `others`, or all numbers where none does. */
export function summary(settings, others) {
  const differing = Object.keys(settings).filter((name) => settings[name] !== others[name]);
  const names = differing.length ? differing : NUMBERS.map(({ name }) => name);
  const words = (name) => `${name} ${String(settings[name]).replaceAll("\n", " ")}`;
  return names
    .filter((name) => settings[name] !== "")
    .map(words)
    .join(", ");
}

/** Whether nobody changed them yet. */
export function areDefaults(settings) {
  return JSON.stringify(settings) === JSON.stringify(defaultSettings());
}

/** The fields in `root`; `change` is dispatched when the user moves one. */
export class SettingsForm extends EventTarget {
  settings = defaultSettings();
  #inputs = {};

  constructor(root) {
    super();
    NUMBERS.forEach((number) => this.#addNumber(root, number));
    const seed = { placeholder: "random", inputMode: "numeric", pattern: "[0-9]*", maxLength: 15 };
    this.#addField(root, "seed", "input", "seed", "empty draws one; the same seed repeats a text", seed);
    this.#addField(root, "stop", "textarea", "stop strings", "one a line; \\n is a line end", { rows: 2 });
    this.#addSlide(root);
  }

  /** Shows other settings, and changes them from now on. */
  show(settings) {
    this.settings = settings;
    for (const { name } of NUMBERS) {
      for (const input of this.#inputs[name]) input.value = settings[name];
    }
    this.#inputs.seed.value = settings.seed;
    this.#inputs.stop.value = settings.stop;
    this.#inputs.slide.checked = settings.slide;
  }

  /** A model with a shorter or longer context has another greatest `max_tokens`. */
  setContextLength(length) {
    for (const input of this.#inputs.max_tokens) input.max = length;
  }

  #changed(name, value) {
    this.settings[name] = value;
    this.dispatchEvent(new Event("change"));
  }

  #addNumber(root, { name, hint, ...range }) {
    const slider = element("input", { type: "range", id: `setting-${name}`, ...range });
    const number = element("input", { type: "number", ariaLabel: `${name}, as a number`, ...range });
    const take = (input, other) => {
      if (!input.validity.valid || input.value === "") return;
      other.value = input.value;
      this.#changed(name, Number(input.value));
    };
    slider.addEventListener("input", () => take(slider, number));
    number.addEventListener("input", () => take(number, slider));
    number.addEventListener("change", () => {
      number.value = this.settings[name];
    });
    this.#inputs[name] = [slider, number];
    this.#addRow(root, name, name, hint, slider, number);
  }

  #addField(root, name, tag, label, hint, properties) {
    const field = element(tag, { id: `setting-${name}`, spellcheck: false, autocomplete: "off", ...properties });
    field.addEventListener("input", () => {
      if (field.validity.valid) this.#changed(name, field.value);
    });
    this.#inputs[name] = field;
    this.#addRow(root, name, label, hint, field);
  }

  #addSlide(root) {
    const box = element("input", { type: "checkbox", id: "setting-slide" });
    box.addEventListener("change", () => this.#changed("slide", box.checked));
    this.#inputs.slide = box;
    const label = element("label", { className: "slide" });
    label.append(box, " forget the beginning when the context is full");
    root.append(label);
  }

  #addRow(root, name, text, hint, ...inputs) {
    const row = element("div", { className: inputs.length > 1 ? "field number" : "field" });
    const help = element("small", { id: `setting-${name}-hint`, textContent: hint });
    inputs[0].setAttribute("aria-describedby", help.id);
    row.append(element("label", { htmlFor: inputs[0].id, textContent: text }), ...inputs.reverse(), help);
    root.append(row);
  }
}

/** An element with properties, such as `element("button", { type: "button" })`. */
export function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}
