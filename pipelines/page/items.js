// Two methods item by item: how often each of the four outcomes is, and the items of one of them.

import { el } from "./dom.js";
import { block } from "./packed.js";
import { state } from "./state.js";

const PAGE = 8;
const OUTCOMES = [
  ["10", "right", "wrong"],
  ["01", "wrong", "right"],
  ["11", "right", "right"],
  ["00", "wrong", "wrong"],
];

/** The verdicts of a score in a column under the chosen protocol, one character an item. */
export function bits(verdicts, score, column) {
  const by = verdicts.scores[score]?.[column]?.by;
  return by && (by[state.protocol] ?? Object.values(by)[0]);
}

/**
 * The comparison of two rows. `worlds`: [{seed, a, b}] with the two scores of each; `suites`: key -> name of those whose
 * items are compared; `names`: of the rows.
 */
export async function comparison(worlds, suites, names) {
  const verdicts = await block("verdicts");
  const found = worlds.flatMap(({ seed, a, b }) => [...suites.keys()].flatMap((column) => pairs(verdicts, seed, a, b, column)));
  const place = el("div", { class: "items" });
  const buttons = OUTCOMES.map(([key, first, second]) => {
    const mine = found.filter((item) => item.key === key);
    const words = `${names[0]} ${first}, ${names[1]} ${second}`;
    const press = el("button", { type: "button", class: `outcome o${key}`, "aria-pressed": "false", disabled: !mine.length },
      el("b", {}, String(mine.length)), el("span", {}, words));
    press.addEventListener("click", () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === press)));
      list(place, mine, suites, names, words);
    });
    return press;
  });
  const of = suites.size > 1 ? `all ${suites.size} suites (each item counts alike here, each column in the mean)` : [...suites.values()][0];
  const judged = `${found.length || "No"} items of ${of} were answered by both.`;
  return el("div", {}, el("p", {}, `${judged} Press a count to see its items.`), el("div", { class: "outcomes", role: "group", "aria-label": "Outcomes" }, buttons), place);
}

function pairs(verdicts, seed, a, b, column) {
  const [first, second] = [bits(verdicts, a, column), bits(verdicts, b, column)];
  if (!first || !second || verdicts.scores[a][column].ids !== verdicts.scores[b][column].ids) return [];
  const ids = verdicts.ids[verdicts.scores[a][column].ids];
  return ids
    .map((id, place) => ({ seed, column, id, place, a, b, key: first[place] + second[place] }))
    .filter((item) => !item.key.includes("-"));
}

/** Shows some of the items, from their heading on, which takes the focus: what was pressed may be gone. */
async function list(place, items, suites, names, words, from = 0) {
  const shown = await Promise.all(items.slice(from, from + PAGE).map((item) => card(item, suites.get(item.column), names)));
  const turn = (to, word) => el("button", { type: "button", disabled: to < 0 || to >= items.length, onclick: () => list(place, items, suites, names, words, to) }, word);
  const turns = () => el("p", { class: "turn" }, turn(from - PAGE, "Earlier"), " ", turn(from + PAGE, "Later"));
  const heading = el("h5", { tabindex: "-1" }, `${words}: items ${from + 1} to ${Math.min(from + PAGE, items.length)} of ${items.length}`);
  place.replaceChildren(heading, turns(), el("ul", { class: "cards" }, shown), turns());
  heading.focus({ preventScroll: true });
  heading.scrollIntoView();
}

async function card(item, suite, names) {
  const world = await block(`world${item.seed}`);
  const texts = [item.a, item.b].map((score) => world?.answers[score]?.[item.column]);
  const title = el("h6", {}, `World ${item.seed}, ${suite}, item ${item.id}`);
  if (!texts[0]) return el("li", { class: "item" }, title, el("p", {}, "Its text is its benchmark's own and is not in this page; the store has it."), outcome(item.key[0], names[0]), outcome(item.key[1], names[1]));
  const asked = world.asked[texts[0].asked];
  return el("li", { class: "item" }, title,
    asked.images[item.place].map((at) => el("img", { src: `data:image/png;base64,${world.images[at]}`, alt: `picture of item ${item.id}`, class: "picture" })),
    el("p", { class: "question" }, el("b", {}, "Asked: "), el("code", {}, asked.question[item.place]), el("b", {}, " Right answer: "), el("code", {}, asked.gold[item.place])),
    texts.map((text, which) => answer(text, item, which, names[which])));
}

function answer(text, item, which, name) {
  if (!text) return outcome(item.key[which], name);
  const by = text.by[state.protocol] ?? Object.values(text.by)[0];
  const [rule, read] = [by.rule[item.place], by.read[item.place]];
  const decided = rule === "unmatched" ? "no rule could read an answer" : `read ${read ?? "nothing"} by the rule “${rule}”`;
  return el("div", { class: "answer" }, outcome(item.key[which], name, decided), el("pre", { tabindex: "0" }, text.response[item.place] ?? "(no response)"));
}

function outcome(right, name, decided = "") {
  return el("p", { class: right === "1" ? "right" : "wrong" }, el("b", {}, `${right === "1" ? "✓ right" : "✗ wrong"}: ${name}`), decided && ` (${decided})`);
}
