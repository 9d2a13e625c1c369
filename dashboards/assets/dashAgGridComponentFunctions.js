// Cells that are more than text.
var dagcomponentfuncs = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});
dagcomponentfuncs.streamcoCallLink = function (props) {
  return React.createElement("a", { href: "/call/" + encodeURIComponent(props.value), className: "cell-link" }, "open");
};
// A party's or destination's name leads to its calls that are up now.
dagcomponentfuncs.streamcoNameLink = function (props) {
  return React.createElement("a", { href: "/calls?find=" + encodeURIComponent(props.value), className: "name-link" }, props.value);
};
