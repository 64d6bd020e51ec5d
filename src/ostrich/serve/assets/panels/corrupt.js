// Failures that are not attacks: a corruption and how severe it is.

import { Pair, field, h, select } from "../pieces.js";
import { get, set } from "../state.js";

export const TAB = "Corrupt it";
export const TITLE = "Weather, blur and noise";
export const WORDS = "The fifteen common corruptions at five severities, on this image: classifiers fail more often on these than on an adversary.";

export async function open(panel, room) {
  const pair = new Pair();
  const names = Object.entries(room.facts.corruptions).flatMap(([family, all]) => all.map((name) => [name, `${name.replaceAll("_", " ")} (${family})`]));
  const name = select(names, get("corruption", "gaussian_noise"), (value) => { set({ corruption: value }, { quietly: true }); go(); });
  const output = h("output"), slider = h("input", { type: "range", min: 0, max: 5, value: get("severity", "3"), id: "severity", oninput: () => { set({ severity: slider.value }, { quietly: true }); go(); } });
  panel.append(h("div", { class: "form" }, field("Corruption", name), h("label", {}, "Severity ", output, slider)), pair.element);

  async function go() {
    output.textContent = slider.value;
    await room.ask("corrupt", { image: room.image, corruption: name.value, severity: Number(slider.value) }, (event) => {
      if (event.event !== "corrupted") return;
      room.bars(event.networks);
      room.show(event.picture);
      pair.set(room.address(room.image), event.picture);
    });
  }
  await go();
}
