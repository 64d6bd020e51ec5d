// What a unit wants to see, growing from noise.

import { draw, field, goOn, h, loaded, number, select } from "../pieces.js";
import { get, set } from "../state.js";

export const TAB = "What it wants";
export const TITLE = "What does it want to see?";
export const WORDS = "An image grown from noise until it moves the unit most: a class, a channel, a neuron, a sum or difference such as class:ostrich - class:umbrella.";
export const NEEDS_GRADIENT = true;

export async function open(panel, room) {
  const first = `class:${room.facts.classes[Math.min(1, room.facts.classes.length - 1)]}`;
  const unit = h("input", { type: "text", value: get("want", first), oninput: () => set({ want: unit.value }, { quietly: true }) });
  const preset = select(room.facts.presets.all.map((name) => [name, name]), get("preset", room.facts.presets.default), (value) => set({ preset: value }, { quietly: true }));
  const steps = h("input", { type: "number", min: 8, max: 2048, value: get("steps", "256"), oninput: () => set({ steps: steps.value }, { quietly: true }) });
  const canvas = h("canvas", { role: "img", "aria-label": "what the unit wants to see" }), caption = h("figcaption"), keep = h("div", { class: "form" });
  panel.append(h("div", { class: "form" }, field("Unit", unit), field("Preset", preset), field("Steps", steps),
    h("button", { type: "button", class: "act main", id: "grow", onclick: go }, "Grow it"), h("button", { type: "button", class: "act", onclick: () => room.stop() }, "Stop")),
    h("figure", {}, canvas, caption), keep);
  if (get("ran") === "want") await go();

  async function go() {
    keep.replaceChildren();
    set({ ran: "want" }, { quietly: true });
    await room.ask("want", { unit: unit.value, preset: preset.value, steps: Number(steps.value) }, async (event) => {
      draw(canvas, await loaded(event.picture), 384);
      if (event.event === "step") caption.textContent = `step ${event.step} of ${event.steps}`;
      if (event.event !== "wanted") return;
      caption.textContent = event.value === null ? "stopped where it stood" : `${unit.value}: ${number(event.value)}`;
      room.bars(event.networks, null, "the picture that grew");
      keep.append(goOn(event.made));
    });
  }
}
