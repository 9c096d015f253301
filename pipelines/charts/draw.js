// Draws every chart of the page from its Vega-Lite specification: as wide as the page, anew when that changes.
"use strict";
const drawn = new Map();
const draw = async (figure) => {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  const left = Math.min(spec.usermeta.left, Math.round(figure.clientWidth * 0.4));
  spec.config.axisY = { ...spec.config.axisY, minExtent: left, maxExtent: left, labelLimit: left - 8 };
  for (const [name, { columns, rows }] of Object.entries(spec.datasets || {}))
    spec.datasets[name] = rows.map((row) => Object.fromEntries(columns.map((column, place) => [column, row[place]])));
  for (const view of spec.vconcat || [spec]) view.width = figure.clientWidth - left - spec.usermeta.right;
  const tooltip = { disableDefaultStyle: true };
  const options = { actions: false, ast: true, defaultStyle: false, mode: "vega-lite", renderer: "svg", tooltip };
  if (drawn.has(figure)) drawn.get(figure).finalize();
  drawn.set(figure, await vegaEmbed(figure.querySelector("div"), spec, options));
  figure.classList.add("drawn");
};
const drawAll = async () => {
  width = innerWidth;
  for (const figure of document.querySelectorAll("figure.chart")) await draw(figure);
};
const unpack = async () => {
  const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (sign) => sign.charCodeAt(0));
  const script = document.createElement("script");
  script.textContent = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(script);
};
let width;
let last = unpack().then(drawAll);
addEventListener("resize", () => {
  last = last.then(() => (innerWidth === width ? null : drawAll()));
});
