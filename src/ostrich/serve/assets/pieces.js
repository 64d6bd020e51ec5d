// Small pieces of the page: elements, fields, bars, and pictures pixel by pixel.

import { set } from "./state.js";

// An element with attributes, properties that begin with "on", and children.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function field(label, control) {
  return h("label", {}, label, control);
}

export function select(options, chosen, onchange) {
  const element = h("select", { onchange: () => onchange(element.value) },
    ...options.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, text)));
  return element;
}

// Make an image of the server's the one in question; what was done with another one is not done again.
export const choose = (image) => set({ image, ran: null, places: null });

export const goOn = (image) => h("button", { type: "button", class: "act", onclick: () => choose(image) }, "Go on with this picture");

// A button that saves a failure with its proof, and says where it lies.
export function saving(image, room) {
  const where = h("p", { hidden: true });
  const button = h("button", { type: "button", class: "act", id: "save", onclick: async () => {
    try {
      const found = await room.save(image);
      where.hidden = false;
      where.replaceChildren("Saved in ", h("code", {}, found.folder), ": ",
        h("a", { href: found.picture, download: "" }, "the picture"), ", ", h("a", { href: found.proof, download: "" }, "run.json"));
    } catch (error) {
      room.say(error.message);
    }
  } }, "Save it with its proof");
  return [button, where];
}

// A number that is not finite comes as null.
const known = (value) => value !== null && value !== undefined;
export const percent = (share) => (!known(share) ? "not known" : (100 * share).toFixed(share < 0.0995 || (share > 0.995 && share < 0.9995) ? 1 : 0) + "\u00a0%");
export const number = (value, digits = 3) => (!known(value) ? "not known" : Number(value.toPrecision(digits)).toString());

// The classes of each network as bars; `goal` is marked.
export function bars(networks, goal = null) {
  return networks.map((network) => h("div", { class: "network-bars" },
    networks.length > 1 ? h("h2", {}, network.network) : null,
    ...network.classes.map((one) => h("div", { class: one.index === goal ? "share goal" : "share" },
      h("span", { class: "class" }, one.name), h("span", { class: "number" }, percent(one.share)),
      h("progress", { max: 1, value: one.share, "aria-label": one.name })))));
}

// Classes that moved: before and after.
export function moves(rows, what) {
  return h("table", {}, h("thead", {}, h("tr", {}, ...[what, "before", "after"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.name ?? row.unit),
      ...[row.before, row.after].map((value) => h("td", { class: "figure" }, row.name ? percent(value) : number(value)))))));
}

export async function loaded(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

// Draw an image whole pixel by whole pixel: as many times its size as fit into `room`.
export function draw(canvas, image, room = 320) {
  const width = image.naturalWidth ?? image.width, height = image.naturalHeight ?? image.height;
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0);
  const times = Math.max(1, Math.floor(room / Math.max(width, height)));
  canvas.style.width = times * width + "px";
}

// Where on a canvas an event is, in its image's pixels: [row, column].
export function place(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const at = (offset, side, pixels) => Math.max(0, Math.min(pixels - 1, Math.floor((offset / side) * pixels)));
  return [at(event.clientY - box.top, box.height, canvas.height), at(event.clientX - box.left, box.width, canvas.width)];
}

// A picture with a box [top, left, bottom, right] drawn on it.
export function boxed(source, box, size, alt) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${size[1]} ${size[0]}`);
  svg.setAttribute("preserveAspectRatio", "none");
  if (box) {
    const rect = document.createElementNS(svg.namespaceURI, "rect");
    const [top, left, bottom, right] = box;
    for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) rect.setAttribute(name, value);
    rect.setAttribute("vector-effect", "non-scaling-stroke");
    svg.append(rect);
  }
  return h("span", { class: "boxed" }, h("img", { src: source, alt }), svg);
}

// Before, the change enlarged, after: hover or hold the last and see the first in its place.
export class Pair {
  constructor() {
    this.canvases = ["before", "change", "after"].map((name) => h("canvas", { role: "img", "aria-label": name }));
    const [before, change, after] = this.canvases;
    this.times = h("input", { type: "range", min: 1, max: 50, value: 10, oninput: () => this.#difference() });
    this.words = h("span", {}, "the change, 10 times");
    this.under = h("figcaption", {}, "after; hover or hold to see before");
    const show = (held) => this.images && after.getContext("2d").drawImage(this.images[held ? 0 : 1], 0, 0);
    for (const [name, held] of [["pointerenter", true], ["pointerdown", true], ["pointerleave", false], ["pointerup", false]])
      after.addEventListener(name, () => show(held));
    this.element = h("div", { hidden: true }, h("div", { class: "pairs" },
      h("figure", {}, before, h("figcaption", {}, "before")),
      h("figure", {}, change, h("figcaption", {}, this.words)),
      h("figure", {}, after, this.under)),
      h("div", { class: "form" }, field("Enlarge the change", this.times)));
  }

  async set(before, after) {
    this.images = await Promise.all([loaded(before), loaded(after)]);
    this.element.hidden = false;
    const room = Math.max(180, Math.min(256, (this.element.clientWidth - 40) / 3));
    draw(this.canvases[0], this.images[0], room);
    draw(this.canvases[1], this.images[1], room);
    draw(this.canvases[2], this.images[1], room);
    this.#difference();
  }

  #difference() {
    if (!this.images) return;
    const times = Number(this.times.value), [first, canvas] = this.canvases;
    const { width, height } = canvas, context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(this.images[1], 0, 0);
    const a = first.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, width, height).data, now = context.getImageData(0, 0, width, height);
    for (let i = 0; i < a.length; i++) if (i % 4 < 3) now.data[i] = 128 + times * (now.data[i] - a[i]);
    context.putImageData(now, 0, 0);
    this.words.textContent = `the change, ${times} times`;
  }
}
