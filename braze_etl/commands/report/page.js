"use strict";

// What the tests ask for the views of the charts; a page of a pipeline without a history has none.
window.charts = (async () => {
  const views = {};
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const options = {
    actions: false,
    ast: true, // no eval: the content security policy forbids it
    defaultStyle: false,
    mode: "vega-lite",
    renderer: "svg", // whose colours follow the style sheet
    tooltip: { disableDefaultStyle: true },
  };
  for (const [name, spec] of Object.entries(specs)) {
    const place = document.getElementById(`chart-${name}`);
    views[name] = (await vegaEmbed(place, spec, options)).view;
  }
  return views;
})();

const root = document.documentElement;
const themes = ["auto", "light", "dark"];
const button = document.getElementById("theme");
button.hidden = false;
button.addEventListener("click", () => {
  const next = themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length];
  root.dataset.theme = next;
  button.querySelector("span").textContent = next;
});
