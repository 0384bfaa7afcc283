// Starts the page: theme, tables, the switch of protocols, and cells by address (#cell/table/row/column, and /row that it is set beside).

import { block } from "./packed.js";
import { showCell } from "./cell.js";
import { change, onChange, state } from "./state.js";
import { showTables } from "./tables.js";

const theme = document.getElementById("theme");
const dialog = document.getElementById("cell");
let opener = null;

function startTheme() {
  const prefers = matchMedia("(prefers-color-scheme: dark)");
  let dark = prefers.matches;
  const show = () => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    theme.setAttribute("aria-pressed", String(dark));
  };
  theme.addEventListener("click", () => { dark = !dark; show(); });
  prefers.addEventListener("change", () => { dark = prefers.matches; show(); });
  show();
}

function startControls(data) {
  document.getElementById("controls").addEventListener("change", (event) => change({ [event.target.name]: event.target.value }));
  const said = document.getElementById("protocol-said");
  const say = () => {
    const other = data.protocols.find((each) => each.name === state.protocol);
    const own = data.protocols[0];
    said.textContent = !other || other === own ? "" : `${other.name} decides ${other.changed} of ${other.of} verdicts otherwise than ${own.name}; the tables below are by it.`;
  };
  onChange(say);
}

function address(table, row, column) {
  return `#cell/${[table.name, row.label, column.key].map(encodeURIComponent).join("/")}`;
}

function followAddress(data) {
  const [kind, ...names] = location.hash.slice(1).split("/").map(decodeURIComponent);
  if (kind !== "cell") return dialog.open && dialog.close();
  const table = data.tables.find((each) => each.name === names[0]);
  const row = table?.rows.find((each) => each.label === names[1]);
  const column = table?.columns.find((each) => each.key === names[2]);
  if (!column || !table.numbers[row?.label]?.[column.key]) return undefined;
  showCell(document.getElementById("cell-body"), data, table, row, column, names[3], () => dialog.close());
  if (!dialog.open) {
    opener = document.activeElement;
    dialog.showModal();
  }
  dialog.scrollTop = 0;
  document.getElementById("cell-title").focus();
  return undefined;
}

async function start() {
  startTheme();
  const data = await block("data");
  state.protocol = data.protocols[0]?.name ?? "";
  startControls(data);
  showTables(document.getElementById("table-list"), data, (table, row, column) => { location.hash = address(table, row, column); });
  window.addEventListener("hashchange", () => followAddress(data));
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#cell/")) history.replaceState(null, "", location.pathname + location.search);
    opener?.focus();
  });
  followAddress(data);
  if (location.hash.startsWith("#table-")) document.querySelector(location.hash)?.scrollIntoView();
  document.documentElement.dataset.ready = "yes";
}

start();
