// Generators: samples, sliders through the code, a walk, and what is nearest among the images.

import { field, h, number, select } from "../pieces.js";
import { get, set } from "../state.js";

export const TAB = "Generate";
export const TITLE = "Pictures from a code";
export const WORDS = "Samples of the bundled generators. Choose one and move it along the ways that change its pictures most, or walk to another; beside it the nearest images of the data.";

export async function open(panel, room) {
  const names = room.facts.generators;
  const generator = select(names.map((name) => [name, name]), get("generator", names[0]), (value) => { set({ generator: value, number: null, class: null }, { quietly: true }); samples(); });
  const classes = h("span", { class: "together" }), gallery = h("div", { class: "gallery small" }), one = h("div");
  panel.append(h("div", { class: "form" }, field("Generator", generator), classes, h("button", { type: "button", class: "act main", id: "sample", onclick: () => samples() }, "Sample")), gallery, one);
  const asked = () => ({ generator: generator.value, ...(get("class") ? { asked_class: get("class") } : {}) });

  async function samples() {
    one.replaceChildren();
    await room.ask("sample", asked(), (event) => {
      if (event.event !== "samples") return;
      classes.replaceChildren(...(event.classes.length && event.names.length ? [field("Class", select([["", "all in turn"], ...event.classes.map((name) => [name, name])], get("class"), (value) => { set({ class: value || null }, { quietly: true }); samples(); }))] : []));
      gallery.replaceChildren(...event.pictures.map((source, k) => h("figure", {},
        h("button", { type: "button", class: "copy", "aria-label": `steer sample ${k}`, onclick: () => steer(k) }, h("img", { src: source, alt: "" })), h("figcaption", {}, event.names[k] ?? ""))));
    });
    if (get("number")) await steer(Number(get("number")));
  }

  async function steer(k) {
    set({ number: k }, { quietly: true });
    const along = get("along") ? get("along").split(",").map(Number) : Array(6).fill(0);
    const picture = h("div", { class: "gallery" }), way = h("div", { class: "gallery small" });
    const sliders = along.map((value, i) => {
      const slider = h("input", { type: "range", min: -4, max: 4, step: 0.25, value, onchange: () => { along[i] = Number(slider.value); set({ along: along.join(",") }, { quietly: true }); move(); } });
      return field(`Direction ${i + 1}`, slider);
    });
    one.replaceChildren(h("h2", {}, `Sample ${k}`), h("div", { class: "form" }, ...sliders, h("button", { type: "button", class: "act", id: "walk", onclick: walk }, "Walk to the next sample")), picture, way);
    await move();

    async function move() {
      await room.ask("steer", { ...asked(), number: k, along }, (event) => {
        if (event.event !== "steered") return;
        if (event.networks.length) room.bars(event.networks);
        picture.replaceChildren(h("figure", {}, h("img", { src: event.picture, alt: `sample ${k}, steered` }), h("figcaption", {}, "sample")),
          ...event.nearest.map((row) => h("figure", {}, h("img", { src: room.address(row.image), alt: `image ${row.image}` }), h("figcaption", {}, `nearest: ${row.image}, ${number(row.distance)} away`))));
      });
    }
    async function walk() {
      await room.ask("walk", { ...asked(), start: k, end: k + 1 }, (event) => {
        if (event.event === "walk") way.replaceChildren(...event.pictures.map((source) => h("img", { src: source, alt: "" })));
      });
    }
  }
  await samples();
}
