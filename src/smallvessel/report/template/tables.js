// Sortable tables: the button in a column's heading sorts by what data-value or the cell's text says.
"use strict";

function cellValue(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number.parseFloat(text.replace("−", "-"));
  return Number.isNaN(number) ? text : number;
}

function compareValues(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1; // what is not a number (n/a) comes last
  return a.localeCompare(b);
}

function sortTable(heading) {
  const table = heading.closest("table");
  const column = heading.cellIndex;
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row, index) => ({ row, index, value: cellValue(row, column) }));
  rows.sort((a, b) => (descending ? -1 : 1) * compareValues(a.value, b.value) || a.index - b.index);
  body.append(...rows.map((entry) => entry.row));
}

for (const button of document.querySelectorAll("th > button")) {
  button.addEventListener("click", () => sortTable(button.parentElement));
}
