// The page: the image in question on the left, what can be done with it on the right.

import { ask, facts, save, stop, upload } from "./ask.js";
import { bars, choose, draw, h, loaded } from "./pieces.js";
import { get, listen, set } from "./state.js";
import { exported } from "./export.js";
import { begin } from "./tour.js";
import * as turn from "./panels/turn.js";
import * as budgets from "./panels/budgets.js";
import * as fitted from "./panels/fitted.js";
import * as network from "./panels/network.js";
import * as touch from "./panels/touch.js";
import * as explain from "./panels/explain.js";
import * as corrupt from "./panels/corrupt.js";
import * as want from "./panels/want.js";
import * as generate from "./panels/generate.js";

const PANELS = { turn, budgets, fitted, network, touch, explain, corrupt, want, generate };
const at = (id) => document.getElementById(id);
const canvas = at("picture");
let refused = ""; // why the last picture was not taken: it stays while what was asked before ends

// What panels work with.
const room = {
  facts: null,
  canvas,
  get image() { return get("image", "d0"); },
  stop,
  save,
  address: (image) => `/images/${image}.png`,
  say(sentence) {
    at("status").textContent = sentence || refused;
    at("status").hidden = !at("status").textContent;
  },
  // Ask for a job, and say what goes wrong.
  async ask(name, asked, on) {
    room.say("");
    let way = false, far = false;
    try {
      return await ask(name, asked, (event) => {
        if (event.event === "said") room.say(event.sentence);
        else if (event.event === "progress") { if (!way) room.say(`${event.title}: ${event.done} of ${event.total}`); far = true; }
        else {
          if (far) room.say("");
          way = true;
          far = false;
          on(event);
        }
      });
    } catch (error) {
      room.say(error.message);
      return false;
    }
  },
  // The bars, and `of` which picture, where that is not the one above them.
  bars: (networks, goal = null, of = null) => at("bars").replaceChildren(...(of ? [h("p", { class: "small-print" }, `what it sees in ${of}:`)] : []), ...bars(networks, goal)),
  look: () => look(),
  async show(source) { draw(canvas, await loaded(source), 320); },
};

async function look() {
  try {
    await room.show(room.address(room.image));
  } catch {
    room.say("That image is not here any more; take it again.");
    return false;
  }
  const place = room.image[0] === "d" ? Number(room.image.slice(1)) : null;
  const labels = room.facts.data.labels;
  at("about").textContent = place === null ? "an image of yours" : `${room.facts.data.name}, ${room.image.slice(1)}` +
    (labels && labels[place] !== undefined ? `: ${room.facts.classes[labels[place]]}` : "");
  document.querySelectorAll("#strip button").forEach((b) => b.setAttribute("aria-pressed", b.dataset.image === room.image));
  return room.ask("look", { image: room.image }, (event) => event.event === "bars" && room.bars(event.networks));
}

async function take(blob) {
  if (!blob) return;
  refused = "";
  room.say("");
  try {
    choose(await upload(blob));
  } catch (error) {
    refused = error.message;
    room.say("");
  }
}

async function camera() {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: true });
    const video = h("video", { muted: true, playsinline: true });
    video.srcObject = stream;
    await video.play();
    const shot = h("canvas", { width: video.videoWidth, height: video.videoHeight });
    shot.getContext("2d").drawImage(video, 0, 0);
    stream.getTracks().forEach((track) => track.stop());
    shot.toBlob(take, "image/png");
  } catch (error) {
    room.say(`No camera here: ${error.message}`);
  }
}

async function open() {
  const name = get("panel", "turn"), panel = PANELS[name] ?? turn;
  document.querySelectorAll("[role=tab]").forEach((tab) => {
    const chosen = tab.id === "tab-" + name;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
  });
  at("panel").setAttribute("aria-labelledby", "tab-" + name);
  room.say("");
  const missing = panel.NEEDS_GRADIENT && room.facts.access !== "gradient";
  at("panel").replaceChildren(h("h2", {}, panel.TITLE), h("p", { class: "how" }, panel.WORDS));
  if (missing) at("panel").append(h("p", { class: "note" }, `This needs gradients, and ${room.facts.networks[0].name} gives only ${room.facts.access}.`));
  else await panel.open(at("panel"), room);
}

function tabs() {
  at("tabs").append(...Object.entries(PANELS).map(([name, panel]) =>
    h("button", { role: "tab", type: "button", id: "tab-" + name, "aria-controls": "panel", onclick: () => set({ panel: name }) }, panel.TAB)));
  at("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const names = Object.keys(PANELS), now = names.indexOf(get("panel", "turn"));
    set({ panel: names[(now + step + names.length) % names.length] });
    at("tab-" + get("panel")).focus();
  });
}

function themes() {
  const all = ["auto", "light", "dark"];
  const apply = (theme) => {
    if (theme === "auto") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.setAttribute("data-theme", theme);
    at("theme").textContent = theme[0].toUpperCase() + theme.slice(1);
    at("theme").setAttribute("aria-label", at("theme").textContent + ": colours");
  };
  let theme = "auto";
  try { theme = localStorage.getItem("ostrich-theme") ?? "auto"; } catch { /* a page without storage */ }
  apply(all.includes(theme) ? theme : "auto");
  at("theme").addEventListener("click", () => {
    theme = all[(all.indexOf(theme) + 1) % all.length];
    apply(theme);
    try { localStorage.setItem("ostrich-theme", theme); } catch { /* lasts for this visit only */ }
  });
}

async function start() {
  themes();
  room.facts = await facts();
  tabs();
  at("strip").append(...Array.from({ length: room.facts.data.shown }, (_, i) =>
    h("button", { type: "button", "data-image": "d" + i, "aria-pressed": "false", "aria-label": `image ${i}`, onclick: () => choose("d" + i) },
      h("img", { src: room.address("d" + i), alt: "", loading: "lazy" }))));
  at("file").addEventListener("change", () => take(at("file").files[0]));
  at("camera").addEventListener("click", camera);
  at("share").addEventListener("click", async () => {
    await navigator.clipboard?.writeText(location.href).catch(() => {});
    room.say(location.href);
  });
  at("export").addEventListener("click", () => exported(room));
  at("tour").addEventListener("click", () => begin(at("guide"), at("tour")));
  addEventListener("paste", (event) => take(Array.from(event.clipboardData.files)[0]));
  for (const name of ["dragover", "dragleave", "drop"])
    addEventListener(name, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", name === "dragover");
      if (name === "drop") take(event.dataTransfer.files[0]);
    });
  listen(async (changed) => {
    if (!changed.has("image") && !changed.has("panel")) return;
    refused = "";
    await look();
    await open();
  });
  await look();
  await open();
  document.documentElement.dataset.ready = "true";
}

start();
