// Cells that are more than text.
var dagcomponentfuncs = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});
dagcomponentfuncs.streamcoCallLink = function (props) {
  return React.createElement("a", { href: "/call/" + encodeURIComponent(props.value), className: "cell-link" }, "open");
};
// What differs: a leg leads to its call, anything else is only named.
dagcomponentfuncs.streamcoSubjectLink = function (props) {
  if (!props.data.call) return props.value;
  return React.createElement("a", { href: "/call/" + encodeURIComponent(props.data.call), className: "cell-link" }, props.value);
};
// A party's or destination's name leads to its calls that are up now.
dagcomponentfuncs.streamcoNameLink = function (props) {
  return React.createElement("a", { href: "/calls?find=" + encodeURIComponent(props.value), className: "name-link" }, props.value);
};
