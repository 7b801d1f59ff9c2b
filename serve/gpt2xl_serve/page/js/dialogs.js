/** Opens and closes the page's dialogs; asks for an API key. */

export function prepareDialogs() {
  for (const button of document.querySelectorAll("dialog .close")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  const help = document.getElementById("help");
  document.getElementById("open-help").addEventListener("click", () => help.showModal());
}

let question = null;

/** @returns {Promise<string | null>} one question at a time, also when several requests ask */
export function askForKey(reason) {
  question ??= ask(reason).finally(() => {
    question = null;
  });
  return question;
}

function ask(reason) {
  const dialog = document.getElementById("key");
  const form = document.getElementById("key-form");
  const field = document.getElementById("key-field");
  document.getElementById("key-reason").textContent = reason;
  field.value = "";
  dialog.returnValue = "";
  form.onsubmit = (event) => {
    event.preventDefault();
    dialog.close("use");
  };
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    const answer = () => resolve(dialog.returnValue === "use" ? field.value.trim() : null);
    dialog.addEventListener("close", answer, { once: true });
  });
}
