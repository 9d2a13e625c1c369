// Formats of grid cells; the same as dashboards/kit/formats.py writes elsewhere.
var dagfuncs = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});
(function () {
  var dash = "–";
  function number(value, decimals) {
    if (value === null || value === undefined) return dash;
    var text = Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    return (value < 0 && !/^[0.,]*$/.test(text) ? "−" : "") + text;
  }
  function pad(value) { return (value < 10 ? "0" : "") + value; }
  dagfuncs.streamcoFormat = {
    count: function (value) { return number(value, 0); },
    one: function (value) { return number(value, 1); },
    money: function (value, row) { return number(value, 2) + (value !== null && row.currency ? "\u2009" + row.currency : ""); },
    money4: function (value) { return number(value, 4); },
    withheld: function (value) { return value || "withheld"; },
    change: function (value) {
      if (value === null || value === undefined) return dash;
      return value === 0 ? "=" : (value > 0 ? "▲\u2009" : "▼\u2009") + number(Math.abs(value), 1);
    },
    age: function (value) {
      var whole = Math.max(0, Math.floor(value)), thin = "\u2009";
      if (whole < 3600) return dagfuncs.streamcoFormat.duration(whole);
      if (whole < 172800) return Math.floor(whole / 3600) + thin + "h " + pad(Math.floor(whole / 60) % 60) + thin + "min";
      return Math.floor(whole / 86400) + thin + "d " + (Math.floor(whole / 3600) % 24) + thin + "h";
    },
    duration: function (value) {
      if (value === null || value === undefined) return dash;
      var whole = Math.floor(value), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
      return hours ? hours + ":" + pad(minutes) + ":" + pad(whole % 60) : minutes + ":" + pad(whole % 60);
    },
  };
})();
