// The network as a map: layers, the channels of one, and all about a channel.

import { boxed, choose, draw, h, loaded, moves, number } from "../pieces.js";
import { get, set } from "../state.js";

export const TAB = "The network";
export const TITLE = "What happens inside";
export const WORDS = "Layers in the order of a forward. Choose one and see its channels for this image; choose a channel and see what it sees, what it likes and what it moves. Each has an address.";

export async function open(panel, room) {
  const body = h("tbody"), map = h("div"), sheet = h("div");
  const list = h("div", { class: "layers", tabindex: "0", role: "region", "aria-label": "layers" },
    h("table", {}, h("thead", {}, h("tr", {}, ...["layer", "kind", "output", "parameters"].map((t) => h("th", { scope: "col" }, t)))), body));
  panel.append(list, map, sheet);
  let first = null, marked = () => {};
  const done = await room.ask("layers", {}, (event) => {
    if (event.event !== "layers") return;
    first = event.rows.find((row) => row.features)?.name ?? null;
    body.replaceChildren(...event.rows.map((row) => h("tr", { "data-layer": row.name },
      h("th", { scope: "row" }, row.features ? h("button", { type: "button", onclick: () => layer(row.name) }, row.name) : row.name),
      h("td", {}, row.type), h("td", {}, row.shape.join("×")), h("td", { class: "figure" }, row.parameters.toLocaleString("en")))));
  });
  const unit = get("unit"), wanted = unit ? unit.slice(0, unit.lastIndexOf(":")) : get("layer") || first;
  if (done && wanted) await layer(wanted, unit || null);

  async function layer(name, unit = null) {
    set({ layer: name, unit }, { quietly: true });
    body.querySelectorAll("tr").forEach((row) => row.toggleAttribute("aria-current", row.dataset.layer === name));
    body.querySelectorAll("[aria-current]").forEach((row) => row.setAttribute("aria-current", "true"));
    const row = body.querySelector("[aria-current]");
    if (row) list.scrollTop = row.offsetTop - list.clientHeight / 2;
    sheet.replaceChildren();
    await room.ask("tiles", { image: room.image, layer: name }, async (event) => {
      if (event.event === "tiles") await tiles(event);
    });
    if (unit) await one(unit);
  }

  async function tiles(found) {
    const canvas = h("canvas", { role: "img", "aria-label": `${found.count} channels of ${found.layer}` });
    const [height, width] = found.size;
    draw(canvas, await loaded(found.picture), 512);
    const mark = h("div", { class: "cursor-box", hidden: true });
    const share = (pixels, all) => `${(100 * pixels) / all}%`;
    marked = (k) => {
      mark.hidden = false;
      mark.style.left = share((k % found.columns) * width, canvas.width);
      mark.style.top = share(Math.floor(k / found.columns) * height, canvas.height);
      mark.style.width = share(width, canvas.width);
      mark.style.height = share(height, canvas.height);
      entry.value = k;
    };
    const pick = async (k) => {
      if (!(k < found.count)) return;
      const answered = one(`${found.layer}:${k}`);
      sheet.scrollIntoView({ block: "nearest" });
      await answered;
    };
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const column = Math.floor(((event.clientX - box.left) / box.width) * canvas.width / width);
      const row = Math.floor(((event.clientY - box.top) / box.height) * canvas.height / height);
      pick(row * found.columns + column);
    });
    const entry = h("input", { type: "number", min: 0, max: found.count - 1, id: "channel", onchange: () => pick(Number(entry.value)) });
    map.replaceChildren(h("div", { class: "form" }, h("label", {}, `Channel of ${found.layer}`, entry)),
      h("p", { class: "small-print" }, `strongest here: ${found.order.slice(0, 8).join(", ")}; from ${number(found.range[0])} (black) to ${number(found.range[1])} (white)` + (found.left_out ? `; ${found.left_out} more are not shown` : "")),
      h("div", { class: "tile-map" }, canvas, mark));
  }

  async function one(unit) {
    set({ unit }, { quietly: true });
    marked(Number(unit.slice(unit.lastIndexOf(":") + 1).split("@")[0]));
    sheet.replaceChildren(h("h2", {}, unit));
    await room.ask("sheet", { image: room.image, unit }, (event) => {
      if (event.event === "here")
        sheet.append(h("div", { class: "gallery" }, h("figure", {}, boxed(room.address(room.image), event.box, room.facts.size, `what ${event.neuron} sees of this image`),
          h("figcaption", {}, `${number(event.value)} here, most at ${event.neuron}`))));
      if (event.event === "moves") sheet.append(h("p", { class: "small-print" }, "when it is silent:"), moves(event.classes, "class"));
      if (event.event === "sheet")
        sheet.append(h("div", { class: "gallery" },
          h("figure", {}, h("img", { src: event.preferred, alt: `preferred image of ${unit}` }), h("figcaption", {}, "what it prefers")),
          ...event.strongest.map((row) => h("figure", {}, boxed(room.address(row.image), row.box, room.facts.size, `image ${row.image}`),
            h("figcaption", {}, h("button", { type: "button", class: "copy", onclick: () => choose(row.image) }, row.image), ` ${number(row.value)}`)))));
    });
  }
}
