// Explanations side by side, with what is to be known of each.

import { h } from "../pieces.js";
import { get, set } from "../state.js";

export const TAB = "Explain";
export const TITLE = "Which pixels move it?";
export const WORDS = "The same unit by every method. A map is no proof: the check randomises the network's weights, and a method whose map does not care says nothing of this network.";

export async function open(panel, room) {
  const unit = h("input", { type: "text", value: get("unit"), placeholder: "the class it sees", onchange: () => { set({ unit: unit.value || null }, { quietly: true }); go(); } });
  const check = h("input", { type: "checkbox", checked: get("sanity") === "1" });
  const gallery = h("div", { class: "gallery" });
  panel.append(h("div", { class: "form" }, h("label", {}, "Class or unit", unit), h("label", { class: "check" }, check, "check each method"),
    h("button", { type: "button", class: "act main", id: "explain", onclick: go }, "Explain")), gallery);

  async function go() {
    gallery.replaceChildren();
    set({ sanity: check.checked ? "1" : null }, { quietly: true });
    const asked = { image: room.image, methods: room.facts.explainers, sanity: check.checked };
    if (unit.value) asked.unit = unit.value;
    await room.ask("explain", asked, (event) => {
      if (event.event !== "map") return;
      gallery.append(event.refused
        ? h("figure", {}, h("div", { class: "missing" }, "does not apply"), h("figcaption", {}, h("strong", {}, event.method), ": ", event.refused))
        : h("figure", {}, h("img", { src: event.picture, alt: `${event.method} of ${event.unit}` }), h("figcaption", {}, h("strong", {}, event.method), ` ${event.unit} `, event.sentences.join(" "))));
    });
  }
  await go();
}
