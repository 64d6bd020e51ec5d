// Turn it into another class, and watch how.

import { Pair, field, goOn, h, number, percent, saving, select } from "../pieces.js";
import { get, set } from "../state.js";

export const TAB = "Turn it into…";
export const TITLE = "Turn it into something else";
export const WORDS = "Choose a class and watch the attack climb. What counts is decided on the file: rounded to 8 bits, in the plain network, inside the budget.";

export async function open(panel, room) {
  const attacks = room.facts.attacks;
  const chosen = () => attacks.find((one) => one.name === get("attack", "pgd")) ?? attacks[0];
  const pair = new Pair(), facts = h("div", { class: "facts" }), verdict = h("p", { class: "verdict-line", role: "status" });
  const classes = [["", "anything else"], ...room.facts.classes.map((name, k) => [k, name])];
  const target = select(classes, get("target"), (value) => set({ target: value || null }, { quietly: true }));
  const norm = h("span", { class: "together" }), keep = h("div", { class: "form" });
  const name = select(attacks.map((one) => [one.name, `${one.name} (${one.needs})`]), chosen().name, (value) => {
    set({ attack: value, norm: null, eps: null }, { quietly: true });
    budget();
  });

  function budget() {
    const norms = chosen().norms;
    const steps = h("input", { type: "number", min: 1, max: 2000, placeholder: "its own", value: get("climb"), id: "steps", oninput: () => set({ climb: steps.value || null }, { quietly: true }) });
    norm.replaceChildren(...(chosen().steps ? [field("Steps", steps)] : []));
    if (!norms.length) return;
    const now = norms.find((one) => one.name === get("norm")) ?? norms[0];
    const levels = now.name === "linf", usual = levels ? now.eps * 255 : now.eps;
    norm.prepend(
      field("Norm", select(norms.map((one) => [one.name, one.name]), now.name, (value) => { set({ norm: value, eps: null }, { quietly: true }); budget(); })),
      field(levels ? "Budget, in 255ths" : "Budget", h("input", { type: "number", min: 0, step: "any", value: get("eps") || usual, oninput: (event) => set({ eps: event.target.value || null }, { quietly: true }) })));
  }

  function show(event) {
    room.bars(event.networks, event.goal.class);
    room.show(event.picture);
    pair.set(room.address(room.image), event.picture);
    const away = event.goal.kind === "untargeted" ? "left of the class it was" : "sure of the goal";
    facts.replaceChildren(...[["step", event.step], [away, percent(event.goal.share)], ["largest change", number(event.linf) + "/255"], ["L2", number(event.l2)], ["pixels changed", event.pixels]]
      .filter(([, value]) => value !== undefined).map(([label, value]) => h("div", {}, h("span", {}, label + " "), String(value))));
  }

  async function go() {
    verdict.textContent = "";
    set({ ran: "turn" }, { quietly: true });
    keep.replaceChildren();
    begin.disabled = true;
    halt.disabled = false;
    const asked = { image: room.image, attack: chosen().name };
    if (target.value) asked.target = Number(target.value);
    const norms = chosen().norms, levels = (get("norm") || norms[0]?.name) === "linf";
    if (chosen().steps && get("climb")) asked.steps = Number(get("climb"));
    if (get("norm")) asked.norm = get("norm");
    if (get("eps")) asked.eps = levels ? Number(get("eps")) / 255 : Number(get("eps"));
    await room.ask("turn", asked, (event) => {
      show(event);
      if (event.event === "stopped") verdict.textContent = "Stopped where it stood.";
      if (event.event !== "result") return;
      verdict.textContent = event.sentence;
      verdict.className = "verdict-line " + (event.success ? "bad" : "unsure");
      keep.append(goOn(event.made));
      if (event.success) keep.append(...saving(event.made, room));
    });
    begin.disabled = false;
    halt.disabled = true;
  }

  const begin = h("button", { type: "button", class: "act main", id: "begin", onclick: go }, "Turn it");
  const halt = h("button", { type: "button", class: "act", id: "halt", disabled: true, onclick: () => room.stop() }, "Stop");
  budget();
  panel.append(h("div", { class: "form" }, field("Into", target), field("Attack", name), norm, begin, halt), facts, verdict, pair.element, keep);
  if (get("ran") === "turn") await go(); // an address brings back what was done; the server remembers the answer
}
