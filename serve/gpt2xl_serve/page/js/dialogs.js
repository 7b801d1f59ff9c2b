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
  const field = document.getElementById("key-field");
  const use = document.getElementById("use-key");
  document.getElementById("key-reason").textContent = reason;
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  field.focus();
  const accept = () => dialog.close("use");
  const onKey = (event) => {
    if (event.key === "Enter") accept();
  };
  use.addEventListener("click", accept);
  field.addEventListener("keydown", onKey);
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        use.removeEventListener("click", accept);
        field.removeEventListener("keydown", onKey);
        resolve(dialog.returnValue === "use" ? field.value.trim() : null);
      },
      { once: true },
    );
  });
}
