// Not a module: it runs before the first paint, so that the chosen theme does not flash.
"use strict";
(() => {
  const THEMES = ["auto", "light", "dark"];
  const stored = () => {
    try {
      return localStorage.getItem("gpt2xl.theme");
    } catch {
      return null; // storage is switched off in this browser
    }
  };
  let theme = THEMES.includes(stored()) ? stored() : "auto";
  document.documentElement.dataset.theme = theme;

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => {
      document.documentElement.dataset.theme = theme;
      button.textContent = `Theme: ${theme}`;
    };
    button.addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      try {
        localStorage.setItem("gpt2xl.theme", theme);
      } catch {
        // The theme then lasts as long as the page.
      }
      show();
    });
    show();
  });
})();
