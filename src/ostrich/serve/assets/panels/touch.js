// Touch the picture: click a place, or brush a region away.

import { Pair, field, goOn, h, moves, place, select } from "../pieces.js";
import { get, set } from "../state.js";

export const TAB = "Touch it";
export const TITLE = "Touch the picture";
export const WORDS = "Click a place of the picture on the left: which classes and units does it move? Or brush a region away and see the bars answer.";
const MOST = 4000, MOST_KEPT = 150; // places that are brushed; those of a stroke that stand in the address
let listening = null;

export async function open(panel, room) {
  if (listening) listening.abort();
  listening = new AbortController();
  const tool = () => get("tool", "pixel"), out = h("div"), pair = new Pair();
  const size = h("input", { type: "range", min: 1, max: Math.max(8, Math.round(room.canvas.height / 4)), value: get("radius", String(Math.max(1, Math.round(room.canvas.height / 16)))), oninput: () => set({ radius: size.value }, { quietly: true }) });
  const layer = h("input", { type: "text", value: get("layer"), placeholder: "a layer, for its units", oninput: () => set({ layer: layer.value || null }, { quietly: true }) });
  const fill = select([["mean", "the picture's mean"], ["grey", "grey"], ["blur", "a blur"]], get("fill", "mean"), (value) => set({ fill: value }, { quietly: true }));
  const row = h("input", { type: "number", min: 0, max: room.canvas.height - 1, value: get("row", String(room.canvas.height >> 1)) });
  const column = h("input", { type: "number", min: 0, max: room.canvas.width - 1, value: get("column", String(room.canvas.width >> 1)) });
  panel.append(h("div", { class: "form" },
    field("Tool", select([["pixel", "click a place"], ["brush", "brush away"]], tool(), (value) => set({ tool: value }, { quietly: true }))),
    field("Size", size), field("Fill", fill), field("Units of", layer),
    field("Row", row), field("Column", column), h("button", { type: "button", class: "act", id: "touch", onclick: () => done([[Number(row.value), Number(column.value)]]) }, "Touch there")),
    out);

  let stroke = null, brushed = []; // places of a stroke that is drawn, and of all that are done
  const on = (name, act) => room.canvas.addEventListener(name, act, { signal: listening.signal });
  on("pointerdown", (event) => { if (get("panel") === "touch") { stroke = [place(room.canvas, event)]; room.canvas.setPointerCapture(event.pointerId); } });
  on("pointermove", (event) => { if (stroke && tool() === "brush") { stroke.push(place(room.canvas, event)); mark(stroke.at(-1)); } });
  on("pointerup", () => { if (stroke) done(stroke); stroke = null; });

  function mark([row, column]) {
    const context = room.canvas.getContext("2d");
    context.fillStyle = "rgb(128 128 128 / 0.5)";
    context.beginPath();
    context.arc(column + 0.5, row + 0.5, Number(size.value), 0, 7);
    context.fill();
  }

  function anew() {
    brushed = [];
    set({ places: null, ran: null }, { quietly: true });
    out.replaceChildren();
    room.look();
  }

  async function done(places) {
    if (tool() === "brush") {
      places = brushed = [...brushed, ...places].slice(-MOST);
      const few = Math.ceil(places.length / MOST_KEPT);
      set({ places: places.filter((_, k) => k % few === 0).map((one) => one.join(".")).join("_"), ran: "touch" }, { quietly: true });
      const asked = { image: room.image, places, radius: Number(size.value), fill: fill.value };
      await room.ask("brush", asked, (event) => {
        if (event.event !== "brushed") return;
        room.bars(event.networks);
        room.show(event.picture);
        out.replaceChildren(pair.element, h("div", { class: "form" }, goOn(event.made), h("button", { type: "button", class: "act", id: "anew", onclick: anew }, "Begin anew")));
        pair.set(room.address(room.image), event.picture);
      });
      return;
    }
    const [row_, column_] = places.at(-1);
    set({ places: null, ran: "touch" }, { quietly: true });
    row.value = row_;
    column.value = column_;
    set({ row: row_, column: column_ }, { quietly: true });
    const asked = { image: room.image, row: row_, column: column_, side: Number(size.value) };
    if (layer.value) asked.layer = layer.value;
    await room.ask("pixel", asked, (event) => {
      if (event.event !== "moved") return;
      out.replaceChildren(h("p", { class: "small-print" }, `rows ${event.box[0]} to ${event.box[2] - 1}, columns ${event.box[1]} to ${event.box[3] - 1}, filled with the picture's mean:`), moves(event.classes, "class"));
      if (event.units.length) out.append(moves(event.units, "unit"));
    });
  }

  if (get("ran") === "touch")
    await done(get("places") ? get("places").split("_").map((one) => one.split(".").map(Number)) : [[Number(row.value), Number(column.value)]]);
}
