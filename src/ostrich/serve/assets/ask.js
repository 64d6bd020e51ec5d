// Asking the server: one job at a time, answered by events. A newer job takes the older one's place.

const page = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
let current = null;

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

// Ask for a job; `on(event)` is told what it answers. Resolves to true when it is done, false when it is not.
export async function ask(name, asked, on) {
  if (current) current.abort();
  const mine = (current = new AbortController());
  let done = false;
  try {
    const answer = await fetch("/jobs/" + name, {
      method: "POST", body: JSON.stringify({ page, asked }), signal: mine.signal,
    });
    if (!answer.ok) throw new Error(await answer.text());
    for await (const event of events(answer.body)) {
      if (mine.signal.aborted) return false;
      if (event.event === "refused" || event.event === "fault") throw new Error(event.sentence);
      if (event.event === "done") done = true;
      else on(event);
    }
  } catch (error) {
    if (error.name === "AbortError") return false;
    throw error;
  } finally {
    if (current === mine) current = null;
  }
  return done;
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      const parts = rest.split("\n\n");
      rest = parts.pop();
      for (const part of parts) yield JSON.parse(part.slice("data: ".length));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

export const stop = () => post("/stop", { page });
export const save = async (image) => (await post("/saved", { image })).json();
export const facts = async () => (await fetch("/facts")).json();

export async function upload(blob) {
  const answer = await fetch("/images", { method: "POST", body: blob });
  if (!answer.ok) throw new Error(await answer.text());
  return (await answer.json()).image;
}
