// A review: what a person says about each lesion, saved as a small JSON for `smallvessel review apply`.
"use strict";

// What the review is about: it is refused when the session is another by the time that it is applied.
const MADE_ON = {
  session: session.session, digest: session.digest, lesions_sha256: session.lesions_sha256, earlier_reviews: session.earlier_reviews,
};

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
    ...MADE_ON,
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
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // some browsers lose a download whose address is gone at once
  unsaved = false;
  state.textContent = `${link.download} saved: ${review.decisions.length} of ${session.lesions.length} lesions.`;
}

function markRow(row) {
  row.classList.toggle("rejected", row.querySelector("select").value === "wrong");
}

// What was said so far is kept in the browser, so that closing the page does not lose it; some browsers allow none for a page from a file.
const DRAFT = `smallvessel review ${JSON.stringify(MADE_ON)}`;
let unsaved = false;

function keepDraft() {
  unsaved = true;
  try {
    localStorage.setItem(DRAFT, JSON.stringify(readReview()));
  } catch {
    // the warning before the page is left remains
  }
}

function restoreDraft() {
  let draft = null;
  try {
    draft = JSON.parse(localStorage.getItem(DRAFT));
  } catch {
    return;
  }
  if (!draft) return;
  document.getElementById("reviewer").value = draft.reviewer;
  document.getElementById("remark").value = draft.note;
  for (const decision of draft.decisions) {
    const row = document.querySelector(`.lesion[data-lesion="${decision.marker}-${decision.label}"]`);
    if (!row) continue;
    row.querySelector("select").value = decision.as ? `as:${decision.as}` : decision.verdict === "unsure" ? "" : decision.verdict;
    row.querySelector("input").value = decision.note ?? "";
    markRow(row);
  }
  document.getElementById("saved").textContent = `Brought back: ${draft.decisions.length} of ${session.lesions.length} lesions.`;
}

for (const row of document.querySelectorAll(".lesion")) {
  row.querySelector("select").addEventListener("change", () => markRow(row));
  row.addEventListener("input", keepDraft);
}
for (const id of ["reviewer", "remark"]) document.getElementById(id).addEventListener("input", keepDraft);
document.getElementById("save").addEventListener("click", saveReview);
addEventListener("beforeunload", (event) => {
  if (unsaved) event.preventDefault();
});
restoreDraft();
