// The tables: one row a method, a button a number, sortable by every heading.

import { el, hidden, trusted } from "./dom.js";
import { between, fixed, minus, share, signed } from "./format.js";
import { onChange, state, under } from "./state.js";

const SCALES = { geometry: 3 };
export const AVERAGE = "Avg";

/** The columns that a column is the mean of; none where it is no mean. */
export function averaged(table, column) {
  return column.key === AVERAGE ? table.columns.filter((each) => each.key !== AVERAGE) : [];
}

/** Puts every table into `place`; `open(table, row, column)` shows a cell. */
export function showTables(place, data, open) {
  place.replaceChildren(...data.tables.map((table) => section(table, open)));
}

function section(table, open) {
  const holder = el("div", { class: "holder", tabindex: "0", role: "region", "aria-label": `${table.title}, scrolls sideways` });
  const sorting = { column: null, descending: true };
  const focus = () => holder.querySelector("[aria-sort] button")?.focus();
  const draw = () => {
    holder.classList.toggle("gains", state.view === "gains");
    holder.replaceChildren(isMeasured(table) ? grid(table, sorting, draw, focus, open) : printed(table));
  };
  onChange(draw);
  draw();
  const compared = new Set(table.rows.map((row) => row.against).filter(Boolean));
  const against = compared.size === 1 ? `Differences are from ${[...compared][0]}.` : compared.size ? "Each difference is from the row that its row names." : "";
  return el("details", { class: "table fold", id: `table-${table.name}`, open: true },
    el("summary", {}, el("h3", {}, table.title)),
    el("p", { class: "against" }, minus(against)),
    holder,
    el("details", { class: "note" }, el("summary", {}, "Notes on this table"), trusted(table.note), trusted(table.findings, { class: "scroll", tabindex: "0" })),
  );
}

function isMeasured(table) {
  return Object.keys(table.numbers).length > 0;
}

function grid(table, sorting, draw, focus, open) {
  const heads = table.columns.map((column) => head(column, sorting, draw, focus, averaged(table, column)));
  const shown = el("table", {}, el("thead", {}, el("tr", {}, head({ key: "", shown: "Method" }, sorting, draw, focus, []), heads)));
  const rows = ordered(table, sorting).filter((row) => !(row.label in table.twins));
  shown.append(el("tbody", {}, rows.map((row) => line(table, row, open))));
  return shown;
}

function head(column, sorting, draw, focus, of) {
  const mine = sorting.column === column.key;
  const sort = () => {
    sorting.descending = mine ? !sorting.descending : column.key !== "";
    sorting.column = column.key;
    draw();
    focus();
  };
  return el("th", { scope: "col", "aria-sort": mine ? (sorting.descending ? "descending" : "ascending") : null },
    el("button", { type: "button", class: "sort", onclick: sort, title: column.asked || (of.length > 0 ? `mean of ${of.map((each) => each.shown).join("; ")}` : null) },
      column.shown, el("span", { "aria-hidden": "true" }, mine ? (sorting.descending ? " ↓" : " ↑") : "")),
    of.length > 0 && el("span", { class: "stands" }, `${of.length} columns`),
    column.stands_for && el("span", { class: "stands" }, `stand-in for ${column.stands_for}`));
}

function ordered(table, sorting) {
  if (sorting.column === null) return table.rows;
  const value = (row) => {
    if (sorting.column === "") return row.label;
    const number = under(table.numbers[row.label]?.[sorting.column]);
    return state.view === "gains" ? number?.gain?.value : number?.value;
  };
  const known = table.rows.filter((row) => value(row) != null);
  const sign = sorting.descending ? -1 : 1;
  known.sort((a, b) => sign * (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
  return [...known, ...table.rows.filter((row) => value(row) == null)];
}

function line(table, row, open) {
  const names = [row.label, ...Object.keys(table.twins).filter((twin) => table.twins[twin] === row.label)];
  const kind = { control: "ours", quoted: "quoted by the paper" }[row.role];
  return el("tr", { class: row.role },
    el("th", { scope: "row" }, minus(names.join(" = ")), kind ? " " : null, kind && el("span", { class: "kind" }, kind)),
    table.columns.map((column) => el("td", {}, cell(table, row, column, open))));
}

function cell(table, row, column, open) {
  const number = under(table.numbers[row.label]?.[column.key]);
  const paper = row.paper[column.key];
  const theirs = paper && el("span", { class: "paper" }, hidden(column.stands_for ? "paper's number for the benchmark it stands for: " : "paper: "), minus(`[${paper}]`));
  if (!number) return theirs ? el("span", { class: "beside" }, theirs) : "–";
  const parts = state.view === "gains" ? gain(number, table) : score(number, table);
  const press = el("button", { type: "button", class: "number", onclick: () => open(table, row, column) }, parts);
  const below = [theirs, ...flags(number)].filter(Boolean).flatMap((part) => [part, " "]);
  return [press, state.view === "scores" && below.length > 0 && el("span", { class: "beside" }, below)];
}

function score(number, table) {
  const digits = SCALES[table.kind] ?? 1;
  return [el("b", {}, fixed(number.value, digits)), el("span", { class: "interval" }, ` ${between(number.low, number.high, table.kind === "geometry" ? 2 : 0)}`)];
}

function gain(number) {
  const found = number.gain;
  if (!found) return [el("span", { class: "interval" }, "not compared")];
  const tone = found.low == null || (found.low <= 0 && found.high >= 0) ? "open" : found.value > 0 ? "gain" : "loss";
  return [el("b", { class: tone }, signed(found.value)),
    el("span", { class: "interval" }, ` ${between(found.low, found.high, 1, signed)}`)];
}

function flags(number) {
  const look = (count) => (count > number.n / 20 ? "flag many" : "flag");
  return [
    number.unread > 0 && el("span", { class: look(number.unread), title: `${number.unread} of ${number.n} answers could be read by no rule; they count as wrong` }, `${share(number.unread, number.n)} unread`),
    number.cut > 0 && el("span", { class: look(number.cut), title: `${number.cut} of ${number.n} answers were cut at the limit of new tokens` }, `${share(number.cut, number.n)} cut`),
  ];
}

function printed(table) {
  const { columns, rows } = table.printed;
  return el("table", { class: "words" },
    el("thead", {}, el("tr", {}, columns.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((text, place) => el(place ? "td" : "th", place ? {} : { scope: "row" }, minus(text)))))));
}
