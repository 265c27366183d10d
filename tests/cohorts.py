"""Made-up cohorts: a table of measures, a table of visual grades and the participants, with known relations between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from smallvessel.markers import MARKERS

Row = Mapping[str, object]


def write_table(path: Path, rows: Sequence[Row], separator: str = "\t") -> Path:
    """Write rows of the same keys."""
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(separator.join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def make_cohort_tables(folder: Path, n: int, seed: int = 0) -> tuple[Path, Path, Path]:
    """Tables of n participants of two sites: ``measures.tsv``, ``visual.tsv``, ``participants.tsv``.

    Grades rise with a severity that volumes, counts, z scores and the rated numbers follow too, with noise.
    """
    rng = np.random.default_rng(seed)
    severity = rng.uniform(0, 1, n)
    age = 50 + 30 * severity + rng.normal(0, 6, n)
    measures, visual, participants = [], [], []
    for at in range(n):
        row: dict[str, object] = {"participant_id": f"sub-{at:05d}", "session_id": "n/a", "icv_ml": f"{rng.normal(1450, 100):.1f}"}
        rated: dict[str, object] = {"participant_id": f"sub-{at:05d}"}
        for marker, info in MARKERS.items():
            true_ml = float(np.exp(3 * severity[at] + rng.normal(0, 0.4)) / (1 if marker == "WMH" else 20))
            count = int(rng.poisson(8 * severity[at]))
            row[f"{info.column}_volume_ml"] = f"{true_ml * np.exp(rng.normal(0, 0.15)):.4f}"
            row[f"{info.column}_count"] = max(count + int(rng.integers(-1, 2)), 0)
            rated |= {f"{info.column}_volume_ml": f"{true_ml:.4f}", f"{info.column}_count": count}
            row[f"z_{info.column}"] = f"{4 * severity[at] - 2 + rng.normal(0, 0.7):.4f}"
        row["z_total"] = f"{4 * severity[at] - 2 + rng.normal(0, 0.4):.4f}"
        row |= {"qc_status": "pass", "software_version": "0.1.0"}
        for name, highest in (("fazekas_pv", 3), ("fazekas_deep", 3), ("epvs_bg", 4), ("epvs_cso", 4), ("svd_total", 4)):
            rated[name] = int(np.clip(np.floor((severity[at] + rng.normal(0, 0.1)) * (highest + 1)), 0, highest))
        measures.append(row)
        visual.append(rated)
        participants.append(
            {"participant_id": f"sub-{at:05d}", "age": f"{age[at]:.1f}", "sex": "MF"[int(rng.integers(2))], "site": ("A", "B")[at % 3 == 0]}
        )
    return (
        write_table(folder / "measures.tsv", measures),
        write_table(folder / "visual.tsv", visual),
        write_table(folder / "participants.tsv", participants),
    )
