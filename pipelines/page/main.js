// Starts the page: theme, tables, the switch of protocols, enlarged figures, and cells by address (#cell/table/row/column,
// and /row that it is set beside).

import { block } from "./packed.js";
import { showCell } from "./cell.js";
import { change, onChange, state } from "./state.js";
import { showTables } from "./tables.js";

const theme = document.getElementById("theme");
const dialog = document.getElementById("cell");
const large = document.getElementById("large");
let opener = null;

function startTheme() {
  const prefers = matchMedia("(prefers-color-scheme: dark)");
  let dark = prefers.matches;
  const show = () => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    theme.textContent = dark ? "Light theme" : "Dark theme";
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
    if (!other || other === own) return said.replaceChildren();
    const tables = data.tables.filter((table) => table.protocols.includes(other.name)).map((table) => table.title.split(".")[0]);
    said.textContent = `${other.name} decides ${other.changed} of ${other.of} verdicts otherwise than ${own.name}; numbers change in ${tables.join(", ") || "no table"}.`;
    return undefined;
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

/** What an address in the page points to, unfolded and in view. */
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = target?.querySelector(":scope > details.fold");
  if (folded) folded.open = true;
  for (let each = target?.closest("details"); each; each = each.parentElement.closest("details")) each.open = true;
  target?.scrollIntoView();
}

function enlarge(button) {
  const drawn = button.querySelector("img").cloneNode();
  drawn.loading = "eager";
  document.getElementById("large-title").textContent = drawn.alt;
  large.querySelector(".scroll").replaceChildren(drawn);
  large.showModal();
  large.scrollTop = 0;
}

async function start() {
  startTheme();
  const data = await block("data");
  state.protocol = data.protocols[0]?.name ?? "";
  startControls(data);
  showTables(document.getElementById("table-list"), data, (table, row, column) => { location.hash = address(table, row, column); });
  window.addEventListener("hashchange", () => { followAddress(data); reveal(); });
  document.addEventListener("click", (event) => { if (event.target.closest("a")?.hash === (location.hash || null)) reveal(); });
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#cell/")) history.replaceState(null, "", location.pathname + location.search);
    opener?.focus();
  });
  large.querySelector(".close").addEventListener("click", () => large.close());
  document.querySelectorAll(".enlarge").forEach((button) => button.addEventListener("click", () => enlarge(button)));
  if (matchMedia("(max-width: 600px)").matches) document.querySelectorAll("details.fold").forEach((each) => { each.open = false; });
  followAddress(data);
  reveal();
  document.documentElement.dataset.ready = "yes";
}

start();
