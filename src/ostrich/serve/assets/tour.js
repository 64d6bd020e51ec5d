// The lecture in ten steps, for class: arrow keys turn the pages.

import { h } from "./pieces.js";
import { set } from "./state.js";

const STEPS = [
  ["A network sees", "An image goes in, a share for each class comes out. Pick an image on the left; the bars are all that the network says.", { panel: "turn" }],
  ["A change nobody sees", "Turn it into something else: the attack follows the gradient, within the budget. Choose a class, press “Turn it”, and watch the bars cross.", { panel: "turn" }],
  ["How much does it take?", "The slider goes from clean to fooled. Enlarge the change until you can see it.", { panel: "budgets" }],
  ["Two networks", "The same picture is shown to the network beside it, trained against attacks: it stands longer.", { panel: "budgets" }],
  ["Inside", "Layers in the order of a forward, and their channels for this image: edges first, parts later.", { panel: "network" }],
  ["One neuron", "Choose a channel: what it sees of this image, what it likes best, and what happens when it is silent.", { panel: "network" }],
  ["Touch it", "Brush a region away. Where do the bars move? That is where the network looked.", { panel: "touch", tool: "brush" }],
  ["Which pixels?", "Gradient, guided backpropagation, Grad-CAM: three answers to one question. Which of them do you believe?", { panel: "explain" }],
  ["What does it want to see?", "Climb the gradient on the input: an image grown for one unit.", { panel: "want" }],
  ["Pictures from a code", "A generator goes the other way: from a code to an image. Is it new, or remembered? Look at what is nearest.", { panel: "generate" }],
];

let running = null; // what ends the tour

// `from` is the button that began it, which has the focus again at the end.
export function begin(guide, from) {
  running?.();
  let step = 0;
  guide.hidden = false;
  const ending = new AbortController();
  const close = () => { guide.hidden = true; ending.abort(); running = null; from.focus(); };
  running = close;
  const keys = (event) => {
    if (event.target.closest?.("input, select, [role=tab]")) return;
    if (event.key === "ArrowRight") turn(1);
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "Escape") close();
  };
  function turn(by) {
    step = Math.max(0, Math.min(STEPS.length - 1, step + by));
    const [title, words, state] = STEPS[step];
    set(state);
    guide.replaceChildren(h("h2", {}, `${step + 1} of ${STEPS.length}. ${title}`), h("p", {}, words),
      h("div", { class: "form" },
        h("button", { type: "button", class: "act", disabled: step === 0, onclick: () => turn(-1) }, "Back"),
        h("button", { type: "button", class: "act main", id: "next", onclick: () => (step === STEPS.length - 1 ? close() : turn(1)) }, step === STEPS.length - 1 ? "End" : "Next"),
        h("button", { type: "button", class: "act", onclick: close }, "Close")));
    guide.querySelector("#next").focus();
  }
  addEventListener("keydown", keys, { signal: ending.signal });
  turn(0);
}
