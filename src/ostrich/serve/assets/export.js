// The page as one file: its pictures inside of it, nothing to ask, to be opened anywhere.

export async function exported(room) {
  const copy = document.documentElement.cloneNode(true);
  const images = document.querySelectorAll("#panel img");
  await Promise.all(Array.from(copy.querySelectorAll("#panel img")).map(async (image, k) => { image.src = await inside(images[k].src); }));
  const shown = document.querySelectorAll("canvas");
  copy.querySelectorAll("canvas").forEach((canvas, k) => {
    const image = document.createElement("img");
    image.src = shown[k].toDataURL("image/png");
    image.alt = canvas.getAttribute("aria-label") ?? "";
    image.setAttribute("class", "pixels");
    image.style.width = shown[k].style.width;
    canvas.replaceWith(image);
  });
  copy.querySelectorAll("script, .strip, .choose, .tools, #guide, .skip, link[rel=icon]").forEach((one) => one.remove());
  copy.querySelectorAll("button, input, select").forEach((one) => one.setAttribute("disabled", ""));
  copy.querySelectorAll("#panel a").forEach((one) => one.removeAttribute("href")); // what it led to stays on the server
  for (const link of copy.querySelectorAll("link[rel=stylesheet]")) {
    const style = document.createElement("style");
    style.textContent = await (await fetch(link.getAttribute("href"))).text();
    link.replaceWith(style);
  }
  const where = document.createElement("p");
  where.className = "bar small-print";
  where.textContent = `Saved from the playground of ${room.facts.networks[0].name}; the state: ${location.hash}`;
  copy.querySelector("body").append(where);
  const blob = new Blob(["<!doctype html>\n" + copy.outerHTML], { type: "text/html" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "ostrich-playground.html";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function inside(source) {
  if (source.startsWith("data:")) return source;
  const blob = await (await fetch(source)).blob();
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(blob);
  });
}
