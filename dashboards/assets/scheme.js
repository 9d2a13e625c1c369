// The colour scheme before anything is painted: the one chosen last, dark at first.
(function () {
  var scheme = "dark";
  try { scheme = JSON.parse(localStorage.getItem("scheme")) === "light" ? "light" : "dark"; } catch (_) { /* none yet */ }
  document.documentElement.setAttribute("data-mantine-color-scheme", scheme);
  document.documentElement.setAttribute("data-ag-theme-mode", scheme);
})();
