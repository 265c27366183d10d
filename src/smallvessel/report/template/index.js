// Filters of the page of all sessions: by name, quality and grades.
"use strict";

const form = document.getElementById("filters");

function filterRows() {
  const wanted = document.getElementById("name").value.trim().toLowerCase();
  const chosen = Array.from(form.querySelectorAll("select"), (select) => [select.dataset.filter, select.value]).filter(([, value]) => value);
  let shown = 0;
  for (const row of document.getElementById("sessions").tBodies[0].rows) {
    const fits = row.dataset.name.toLowerCase().includes(wanted) && chosen.every(([key, value]) => row.dataset[key] === value);
    row.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = `${shown} shown`;
}

form.addEventListener("input", filterRows);
form.addEventListener("reset", () => setTimeout(filterRows));
form.addEventListener("submit", (event) => event.preventDefault());
