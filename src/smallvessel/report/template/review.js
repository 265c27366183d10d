// A review: what a person says about each lesion, saved as a small JSON for `smallvessel review apply`.
"use strict";

function readReview() {
  const decisions = [];
  for (const row of document.querySelectorAll(".lesion")) {
    const verdict = row.querySelector("select").value;
    const note = row.querySelector("input").value.trim();
    if (!verdict && !note) continue;
    const [name, label] = row.dataset.lesion.split("-");
    const relabel = verdict.startsWith("as:");
    decisions.push({
      marker: name, label: Number(label), verdict: relabel ? "relabel" : verdict || "unsure",
      ...(relabel ? { as: verdict.slice(3) } : {}), ...(note ? { note } : {}),
    });
  }
  return {
    format: "smallvessel review 1",
    session: session.session,
    lesions_sha256: session.lesions_sha256,
    reviewer: document.getElementById("reviewer").value.trim(),
    saved_at: new Date().toISOString(),
    note: document.getElementById("remark").value.trim(),
    decisions,
  };
}

function saveReview() {
  const state = document.getElementById("saved");
  const review = readReview();
  if (!review.reviewer) {
    state.textContent = "Your name is missing.";
    document.getElementById("reviewer").focus();
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${JSON.stringify(review, null, 2)}\n`], { type: "application/json" }));
  link.download = `${session.session}_review.json`;
  link.click();
  URL.revokeObjectURL(link.href);
  state.textContent = `${link.download} saved: ${review.decisions.length} of ${session.lesions.length} lesions.`;
}

for (const row of document.querySelectorAll(".lesion")) {
  row.querySelector("select").addEventListener("change", (event) => row.classList.toggle("rejected", event.target.value === "wrong"));
}
document.getElementById("save").addEventListener("click", saveReview);
