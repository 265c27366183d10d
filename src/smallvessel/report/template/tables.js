// Sortable tables: the button in a column's heading sorts by what data-value or the cell's text says.
"use strict";

const MISSING = ["n/a", "–", ""];

// A cell is a number only if all of it is one: a name such as 3rd reader is none.
function cellValue(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const plain = text.replace("−", "-");
  return /^[+-]?\d+(\.\d+)?$/.test(plain) ? Number(plain) : text;
}

// What is missing comes last in either direction; sub-2 comes before sub-10.
function compareValues(a, b, direction) {
  const rank = (value) => (typeof value === "number" ? 0 : MISSING.includes(value) ? 2 : 1);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  return direction * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
}

function sortTable(heading) {
  const table = heading.closest("table");
  const column = heading.cellIndex;
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row, index) => ({ row, index, value: cellValue(row, column) }));
  rows.sort((a, b) => compareValues(a.value, b.value, descending ? -1 : 1) || a.index - b.index);
  body.append(...rows.map((entry) => entry.row));
}

for (const button of document.querySelectorAll("thead th > button")) {
  button.addEventListener("click", () => sortTable(button.parentElement));
}
