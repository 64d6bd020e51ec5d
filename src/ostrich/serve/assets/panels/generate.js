// Generators: samples, sliders through the code, a walk, and what is nearest of what it was trained on.

import { field, h, number, select } from "../pieces.js";
import { get, set } from "../state.js";

export const TAB = "Generate";
export const TITLE = "Pictures from a code";
export const WORDS = "Samples of the bundled generators. Choose one and move it along the ways that change its pictures most, walk to another, and compare it with what it was trained on.";

export async function open(panel, room) {
  const names = room.facts.generators;
  const generator = select(names.map((name) => [name, name]), get("generator", names[0]), (value) => { set({ generator: value, number: null, class: null, along: null, to: null }, { quietly: true }); samples(); });
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
    if (get("number") !== String(k)) set({ number: k, along: null, to: null }, { quietly: true });
    const along = get("along") ? get("along").split(",").map(Number) : Array(6).fill(0);
    const picture = h("div", { class: "gallery" }), way = h("div", { class: "gallery small" });
    const near = h("div", { class: "gallery small" }), to = h("input", { type: "number", min: 0, max: 1000000, value: get("to") || k + 1, id: "to" });
    const sliders = along.map((value, i) => {
      const slider = h("input", { type: "range", min: -4, max: 4, step: 0.25, value, onchange: () => { along[i] = Number(slider.value); set({ along: along.join(",") }, { quietly: true }); move(); } });
      return field(`Direction ${i + 1}`, slider);
    });
    one.replaceChildren(h("h2", {}, `Sample ${k}`), h("div", { class: "form" }, ...sliders, field("Walk to sample", to), h("button", { type: "button", class: "act", id: "walk", onclick: walk }, "Walk there"),
      h("button", { type: "button", class: "act", id: "nearest", onclick: nearest }, "Nearest training images")), picture, way, near);
    await move();
    if (get("to")) await walk();

    async function move() {
      await room.ask("steer", { ...asked(), number: k, along }, (event) => {
        if (event.event !== "steered") return;
        if (event.networks.length) room.bars(event.networks, null, `sample ${k}`);
        picture.replaceChildren(h("figure", {}, h("img", { src: event.picture, alt: `sample ${k}, steered` }), h("figcaption", {}, `sample ${k}`)));
        near.replaceChildren();
      });
    }
    async function nearest() {
      await room.ask("nearest", { ...asked(), number: k, along }, (event) => {
        if (event.event !== "nearest") return;
        near.replaceChildren(...event.rows.map((row) => h("figure", {}, h("img", { src: row.picture, alt: `training image ${row.name}` }), h("figcaption", {}, `${row.name}, ${number(row.distance)} away`))));
        room.say(`The nearest of the first ${event.of} of ${event.all} training images, in pixels.`);
      });
    }
    async function walk() {
      set({ to: to.value }, { quietly: true });
      await room.ask("walk", { ...asked(), start: k, end: Number(to.value) }, (event) => {
        if (event.event === "walk") way.replaceChildren(...event.pictures.map((source) => h("img", { src: source, alt: "" })));
      });
    }
  }
  await samples();
}
