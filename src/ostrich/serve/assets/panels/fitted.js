// One change for every image: fitted on the data, laid over the picture; a patch is dragged by hand.

import { Pair, field, goOn, h, number, percent, place, saving, select } from "../pieces.js";
import { get, set } from "../state.js";

export const TAB = "One for all";
export const TITLE = "One change for every image";
export const WORDS = "A perturbation, or a patch, fitted on a part of the data and judged on the rest. Then it is laid over the picture: drag the patch on the left to wherever you like.";
export const NEEDS_GRADIENT = true;
let listening = null;

export async function open(panel, room) {
  if (listening) listening.abort();
  listening = new AbortController();
  const kinds = room.facts.fitted;
  const chosen = () => kinds.find((one) => one.name === get("fitted", "universal")) ?? kinds[0];
  const isPatch = () => chosen().name === "patch";
  const quietly = (changes) => set({ ...changes, ran: null }, { quietly: true });
  const good = h("p", { class: "verdict-line", role: "status" }), verdict = h("p", { class: "verdict-line" });
  const pair = new Pair(), keep = h("div", { class: "form" }), where = h("div", { class: "form" });
  const classes = [["", "anything else"], ...room.facts.classes.map((name, k) => [k, name])];
  const target = select(classes, get("target"), (value) => quietly({ target: value || null }));
  const kind = select(kinds.map((one) => [one.name, one.name === "patch" ? "a patch" : "a perturbation"]), chosen().name, (value) => { quietly({ fitted: value, share: null, passes: null }); budget(); });
  const settings = h("span", { class: "together" });
  const down = h("input", { type: "range", min: 0, max: 1, step: 0.01, value: get("down", "0.5"), oninput: () => move(Number(down.value), Number(right.value)) });
  const right = h("input", { type: "range", min: 0, max: 1, step: 0.01, value: get("right", "0.5"), oninput: () => move(Number(down.value), Number(right.value)) });
  const begin = h("button", { type: "button", class: "act main", id: "fit", onclick: go }, "Fit it");
  const halt = h("button", { type: "button", class: "act", disabled: true, onclick: () => room.stop() }, "Stop");
  let ready = false;

  // What stands in the field is in 255ths, or percent of the picture.
  const scale = () => (isPatch() ? 100 : 255);

  function budget() {
    ready = false;
    where.replaceChildren();
    const eps = h("input", { type: "number", min: 0, step: "any", value: get("share") || number(chosen().eps * scale()), oninput: () => quietly({ share: eps.value || null }) });
    const passes = h("input", { type: "number", min: 1, max: 200, value: get("passes") || chosen().epochs, oninput: () => quietly({ passes: passes.value || null }) });
    settings.replaceChildren(field(isPatch() ? "Percent of the picture" : "Budget, in 255ths", eps), field("Passes", passes));
  }

  function wish() {
    const asked = { attack: chosen().name };
    if (target.value) asked.target = Number(target.value);
    if (get("share")) asked.eps = Number(get("share")) / scale();
    if (get("passes")) asked.epochs = Number(get("passes"));
    return asked;
  }

  async function go() {
    for (const one of [good, verdict]) one.textContent = "";
    for (const one of [keep, where]) one.replaceChildren();
    ready = false;
    begin.disabled = true;
    halt.disabled = false;
    const asked = wish();
    await room.ask("fit", asked, (event) => {
      if (event.event !== "fitted") return;
      ready = true;
      good.textContent = `Fitted on ${event.seen} images. Of ${event.n} others it turns ${percent(event.fooling_rate)}; something random in its place breaks ${percent(event.by_chance ?? 0)}.`;
    });
    begin.disabled = false;
    halt.disabled = true;
    if (!ready) return;
    set({ ran: "fitted" }, { quietly: true });
    if (isPatch()) where.append(field("From the top", down), field("From the left", right));
    await move(Number(down.value), Number(right.value));
  }

  let wanted = null, busy = false;
  async function move(toDown, toRight) { // the newest place, once the one before is answered
    wanted = [toDown, toRight];
    if (busy || !ready) return;
    busy = true;
    while (wanted) {
      const [d, r] = wanted;
      wanted = null;
      set({ down: d.toFixed(3), right: r.toFixed(3) }, { quietly: true });
      await room.ask("lay", { image: room.image, fitted: wish(), down: d, right: r }, (event) => {
        if (event.event !== "laid") return;
        room.bars(event.networks, event.goal.class);
        room.show(event.picture);
        pair.set(room.address(room.image), event.picture);
        verdict.textContent = event.sentence;
        verdict.className = "verdict-line " + (event.success ? "bad" : "unsure");
        keep.replaceChildren(goOn(event.made), ...(event.success ? saving(event.made, room) : []));
      });
    }
    busy = false;
  }

  let dragged = false;
  const on = (name, act) => room.canvas.addEventListener(name, act, { signal: listening.signal });
  function drag(event) {
    const [row, column] = place(room.canvas, event);
    down.value = (row + 0.5) / room.canvas.height;
    right.value = (column + 0.5) / room.canvas.width;
    move(Number(down.value), Number(right.value));
  }
  on("pointerdown", (event) => { if (get("panel") === "fitted" && ready && isPatch()) { dragged = true; room.canvas.setPointerCapture(event.pointerId); drag(event); } });
  on("pointermove", (event) => { if (dragged) drag(event); });
  for (const name of ["pointerup", "pointercancel"]) on(name, () => { dragged = false; });

  budget();
  panel.append(h("div", { class: "form" }, field("What", kind), field("Into", target), settings, begin, halt), good, where, verdict, pair.element, keep);
  if (get("ran") === "fitted") await go();
}
