// What the reader has chosen, and who wants to know.

export const state = { view: "scores", protocol: "" };
const listeners = [];

export function onChange(listener) {
  listeners.push(listener);
}

export function change(what) {
  Object.assign(state, what);
  listeners.forEach((listener) => listener(what));
}

/** A number under the chosen protocol; where that changes none of its table, the configured one's. */
export function under(cell) {
  return cell ? (cell[state.protocol] ?? Object.values(cell)[0]) : undefined;
}
