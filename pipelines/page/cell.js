// One cell: its worlds, settings, the command that makes it again, and its items beside another row's.

import { el } from "./dom.js";
import { between, fixed, flat, minus, share, signed } from "./format.js";
import { comparison } from "./items.js";
import { state, under } from "./state.js";
import { AVERAGE, averaged } from "./tables.js";

/** Fills the dialog's body with a cell. Where a row is named `beside` it, one came for the items: they are first. */
export function showCell(body, data, table, row, column, beside, close) {
  const number = under(table.numbers[row.label][column.key]);
  const runs = Object.entries(data.cells[table.name]?.[row.label] ?? {});
  const items = runs.some(([, roles]) => roles.score) ? [el("h4", {}, "Item by item"), versus(data, table, row, column, runs, beside)] : [];
  const about = [
    facts(number, row, column, table),
    el("h4", {}, runs.length === 1 ? "Its run" : "Its runs"),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs" }, runsTable(data, runs, column, table, number)),
    el("h4", {}, "Make it again"),
    command(data, row, runs),
    settings(data, runs),
  ];
  body.replaceChildren(
    el("header", {},
      el("h3", { id: "cell-title", tabindex: "-1" }, minus(`${row.label}: ${column.shown}`)),
      el("button", { type: "button", onclick: close, class: "close" }, "Close")),
    el("p", { class: "sub" }, `${table.title}${asked(table, column)}.`),
    ...(beside ? [...items, el("h4", {}, "Its value"), ...about] : [...about, ...items]),
  );
}

function asked(table, column) {
  const of = averaged(table, column);
  if (of.length > 0) return `. The mean of ${of.length} columns: ${of.map((each) => each.shown).join("; ")}`;
  return column.asked ? `. The column asks for ${column.asked}; a stand-in for ${column.stands_for}` : "";
}

function facts(number, row, column, table) {
  const digits = table.kind === "geometry" ? 3 : 1;
  const spread = { worlds: "over worlds", runs: "over runs and questions", questions: "over questions" }[number.varies] ?? "";
  const said = [["Value", `${fixed(number.value, digits)}${number.std == null ? "" : ` ± ${fixed(number.std, digits)}`}`]];
  if (number.low != null) said.push([`95% interval ${spread}`, between(number.low, number.high, digits)]);
  said.push(["Items", String(number.n)]);
  if (number.unread != null && table.kind !== "geometry" && table.kind !== "cost") {
    said.push(["No rule could read", `${number.unread} (${number.unread ? share(number.unread, number.n) : "0%"})`]);
    said.push(["Cut at the limit", `${number.cut ?? 0} (${number.cut ? share(number.cut, number.n) : "0%"})`]);
  }
  if (number.gain) {
    said.push([minus(`Minus ${number.gain.against}`), `${signed(number.gain.value)}${number.gain.low == null ? "" : ` (${between(number.gain.low, number.gain.high, 1, signed)})`}`]);
  }
  const paper = row.paper[column.key];
  if (paper) said.push([column.stands_for ? `The paper's, on ${column.stands_for} (this column is a stand-in: another scale)` : "The paper's", minus(paper)]);
  return el("dl", { class: "facts" }, said.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
}

function runsTable(data, runs, column, table, number) {
  const about = ["w_eff", "loss", "steps", "examples", "relative_l2"];
  const lines = runs.map(([seed, roles], place) => ({ seed, score: number.runs[place] ?? number.runs[0], made: data.artifacts[roles.checkpoint ?? roles.geometry], start: data.artifacts[roles.start], scored: data.artifacts[roles.score] }));
  const known = about.filter((name) => lines.some((line) => line.made?.values[name] != null));
  return el("table", {},
    el("thead", {}, el("tr", {}, ["world", column.shown, ...known, "made by", "begun", "artifact"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, lines.map((line) => el("tr", {}, el("th", { scope: "row" }, line.seed), el("td", {}, fixed(line.score, table.kind === "geometry" ? 3 : 1)),
      known.map((name) => el("td", {}, fixed(recorded(line, name), name === "steps" || name === "examples" ? 0 : 2))),
      el("td", { class: "label" }, minus(line.made?.label ?? "–")), el("td", { class: "when" }, line.made?.started.slice(0, 16).replace("T", " ") ?? "–"), el("td", {}, el("code", {}, (line.scored ?? line.made)?.fingerprint.slice(0, 12) ?? "–"))))));
}

/** What a run recorded; w_eff counts from the MLLM, so where training started from a merge that one's is in it. */
function recorded(line, name) {
  const own = line.made?.values[name];
  return own == null || name !== "w_eff" ? own : own + (line.start?.values.w_eff ?? 0);
}

function command(data, row, runs) {
  if (!row.overrides.length) return el("p", {}, "Nobody here runs it: the paper quotes it.");
  const words = row.overrides.map((word) => (/[\s,\[\]{}*]/.test(word) ? `'${word}'` : word));
  const text = `drift run ${[...words, `seed=${runs[0]?.[0] ?? 0}`, `profile=${data.profile}`].join(" ")}`;
  const copy = el("button", { type: "button" }, "Copy");
  copy.addEventListener("click", () => navigator.clipboard?.writeText(text).then(() => { copy.textContent = "Copied"; }));
  return el("p", { class: "command" }, el("code", {}, text), " ", copy);
}

function settings(data, runs) {
  const roles = runs[0]?.[1] ?? {};
  const parts = ["checkpoint", "responses", "score", "geometry"].filter((role) => roles[role] && data.artifacts[roles[role]]);
  return el("details", {}, el("summary", {}, "Settings"), parts.map((role) => {
    const record = data.artifacts[roles[role]];
    return [el("h5", {}, `${role}: ${record.label}`), el("dl", { class: "settings" }, flat(data.settings[record.settings]).map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))))];
  }));
}

function versus(data, table, row, column, runs, beside) {
  const others = table.rows.filter((other) => other.label !== row.label && !(other.label in table.twins) && Object.values(data.cells[table.name]?.[other.label] ?? {}).some((roles) => roles.score));
  const chosen = [beside, "SFT", row.against, others[0]?.label].find((label) => others.some((other) => other.label === label));
  const select = el("select", { id: "other" }, others.map((other) => el("option", { value: other.label, selected: other.label === chosen }, minus(other.label))));
  const world = el("select", { id: "world" }, el("option", { value: "" }, "all worlds"), runs.map(([seed]) => el("option", { value: seed }, `world ${seed}`)));
  const suites = new Map(table.columns.filter((each) => each.key !== AVERAGE).map((each) => [each.key.split("_")[0], each.shown.split(",")[0]]));
  const own = column.key === AVERAGE || beside ? "" : column.key.split("_")[0]; // a finding is of all of them
  const suite = el("select", { id: "suite" }, suites.size > 1 && el("option", { value: "" }, `all ${suites.size} suites`), [...suites].map(([key, name]) => el("option", { value: key, selected: key === own }, name)));
  const place = el("div", {});
  const draw = async () => {
    const theirs = data.cells[table.name][select.value];
    const score = (roles) => roles?.score?.split("/")[1];
    const worlds = runs.filter(([seed]) => !world.value || seed === world.value).map(([seed, roles]) => ({ seed, a: score(roles), b: score(theirs?.[seed]) }));
    const asked = suite.value ? new Map([[suite.value, suites.get(suite.value)]]) : suites;
    place.replaceChildren(await comparison(worlds, asked, [row.label, select.value].map(minus)));
  };
  [select, world, suite].forEach((input) => input.addEventListener("change", draw));
  draw();
  return el("div", { class: "versus" },
    el("div", { class: "controls" }, el("label", { for: "other" }, "Beside ", select), suites.size > 1 && el("label", { for: "suite" }, "on ", suite), el("label", { for: "world" }, "in ", world)),
    state.protocol ? el("p", { class: "sub" }, `Verdicts by the ${state.protocol} protocol.`) : null,
    document.getElementById("key")?.content.cloneNode(true), place);
}
