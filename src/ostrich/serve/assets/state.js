// Every state is an address: what is chosen stands after the # of it, and a link brings it back.

const listeners = [];
let state = read();

function read() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

export const get = (name, otherwise = "") => state[name] ?? otherwise;

// Change some of it; null takes a name out. Who listens is told which names changed.
export function set(changes, { quietly = false } = {}) {
  const changed = Object.keys(changes).filter((name) => (state[name] ?? null) !== (changes[name] === null ? null : String(changes[name])));
  if (!changed.length) return;
  for (const name of changed) {
    if (changes[name] === null) delete state[name];
    else state[name] = String(changes[name]);
  }
  history.replaceState(null, "", "#" + new URLSearchParams(state));
  if (!quietly) listeners.forEach((listener) => listener(new Set(changed)));
}

export const listen = (listener) => listeners.push(listener);

addEventListener("hashchange", () => {
  const before = state;
  state = read();
  const changed = new Set([...Object.keys(before), ...Object.keys(state)].filter((name) => before[name] !== state[name]));
  if (changed.size) listeners.forEach((listener) => listener(changed));
});
