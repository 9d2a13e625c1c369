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
  mark: function (where) {
    var path = (where || {}).path;
    if (path) document.title = where.title;
    document.querySelectorAll(".nav-link").forEach(function (link) {
      link.classList.toggle("here", link.getAttribute("href") === path);
    });
    return path || "";
  },
  filterFromAddress: function (search) { return new URLSearchParams(search || "").get("find") || ""; },
  filter: function (text) {
    var address = "/calls" + (text ? "?find=" + encodeURIComponent(text) : "");
    if (location.pathname === "/calls") history.replaceState(history.state, "", address);
    return { quickFilterText: text || "" };
  },
};
// A page whose figures stand still must say so: the server may be away, or the session over.
var streamcoSeen = { at: "", since: Date.now() };
setInterval(function () {
  var line = document.querySelector(".state-line[data-at]"), note = document.getElementById("stale");
  if (!note) return;
  if (!line || line.dataset.at !== streamcoSeen.at) streamcoSeen = { at: line ? line.dataset.at : "", since: Date.now() };
  var late = line && Date.now() - streamcoSeen.since > 15000;
  var since = new Date(streamcoSeen.since).toLocaleTimeString("en-GB");
  var text = late ? "■ no answer since " + since + ": what is shown is old. Reload the page." : "";
  if (note.textContent !== text) note.textContent = text;
}, 1000);
setInterval(function () {
  var clock = document.getElementById("zone-clock");
  if (!clock) return;
  var now = new Date();
  var zone = now.toLocaleTimeString("en-GB", { timeZoneName: "short" });
  if (clock.textContent !== zone) clock.textContent = zone;
}, 500);
