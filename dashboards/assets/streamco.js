// The little that the shell does by itself: colour scheme, clock, which page is open.
window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.streamco = {
  scheme: function (wanted) {
    var scheme = wanted === "light" ? "light" : "dark";
    document.documentElement.setAttribute("data-ag-theme-mode", scheme);
    document.documentElement.setAttribute("data-mantine-color-scheme", scheme);
    return scheme;
  },
  toggle: function (_, now) { return now === "light" ? "dark" : "light"; },
  mark: function (path) {
    document.querySelectorAll(".nav-link").forEach(function (link) {
      link.classList.toggle("here", link.getAttribute("href") === path);
    });
    return path || "";
  },
};
setInterval(function () {
  var clock = document.getElementById("zone-clock");
  if (!clock) return;
  var now = new Date();
  var zone = now.toLocaleTimeString("en-GB", { timeZoneName: "short" });
  if (clock.textContent !== zone) clock.textContent = zone;
}, 500);
