// Runs before anything is drawn, so that nobody who chose a theme sees the other one first.
(() => {
  try {
    const theme = localStorage.getItem("flotilla.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Whoever allows no storage has the system's theme.
  }
})();
