/** The page's keys. */

/** @param {{generate: () => void, escape: () => void, undo: () => void, redo: () => void}} actions */
export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("dialog")) return;
    const action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    actions[action]();
  });
}

function actionOf(event) {
  if (event.key === "Escape") return "escape";
  if (!event.ctrlKey && !event.metaKey) return null;
  if (event.key === "Enter") return "generate";
  // The fields of the settings keep the browser's own undo.
  if (event.target.closest(".settings")) return null;
  const key = event.key.toLowerCase();
  if (key === "y" || (key === "z" && event.shiftKey)) return "redo";
  return key === "z" ? "undo" : null;
}
