// From clean to fooled: one slider over budgets, computed once.

import { Pair, field, h, number, select } from "../pieces.js";
import { get, set } from "../state.js";

export const TAB = "How much";
export const TITLE = "How much does it take?";
export const WORDS = "The same image attacked at rising budgets. Draw the slider from clean to fooled; the network beside it sees the same picture.";
export const NEEDS_GRADIENT = true;

export async function open(panel, room) {
  const clean = { eps: 0, picture: room.address(room.image), networks: null };
  let stops = [clean];
  const pair = new Pair(), verdict = h("p", { class: "verdict-line", role: "status" });
  const slider = h("input", { type: "range", min: 0, max: 0, value: 0, id: "budget", oninput: () => { set({ budget: slider.value }, { quietly: true }); show(); } });
  const output = h("output", {}, "clean");

  async function show() {
    const stop = stops[Math.min(stops.length - 1, Number(slider.value))];
    const words = stop.eps ? `${number(stop.eps)}/255` : "clean";
    output.textContent = words;
    slider.setAttribute("aria-valuetext", words);
    await pair.set(clean.picture, stop.picture);
    if (!stop.networks) { verdict.textContent = ""; return; }
    room.bars(stop.networks, stop.goal.class);
    verdict.textContent = stop.success ? `At ${words} it is fooled.` : `At ${words} it stands, as far as this attack can tell.`;
    verdict.className = "verdict-line " + (stop.success ? "bad" : "good");
  }

  const classes = [["", "anything else"], ...room.facts.classes.map((name, k) => [k, name])];
  const target = select(classes, get("target"), (value) => { set({ target: value || null }, { quietly: true }); compute(); });
  panel.append(h("div", { class: "form" }, field("Into", target), h("label", {}, "Budget ", output, slider)), verdict, pair.element);
  await show();

  async function compute() {
    stops = [clean];
    slider.max = 0;
    const asked = { image: room.image };
    if (target.value) asked.target = Number(target.value);
    await room.ask("budgets", asked, (event) => {
      if (event.event !== "budget") return;
      stops.push(event);
      slider.max = stops.length - 1;
      slider.value = get("budget") ? Math.min(Number(get("budget")), stops.length - 1) : stops.findIndex((one) => one.success) > 0 ? stops.findIndex((one) => one.success) : stops.length - 1;
      show();
    });
  }
  await compute();
}
