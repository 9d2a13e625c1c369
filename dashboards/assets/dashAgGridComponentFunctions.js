// Cells that are more than text.
var dagcomponentfuncs = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});
dagcomponentfuncs.streamcoCallLink = function (props) {
  return React.createElement("a", { href: "/call/" + encodeURIComponent(props.value), className: "cell-link" }, "open");
};
