"""The output folder as a BIDS derivative data set: what it says about itself, and which folders are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .derivatives import read_record, write_json, write_text
from .errors import InputError
from .models import describe_networks

BIDS_VERSION = "1.10.0"
IGNORED = (
    "# Files that BIDS has no name for: tables per session, reports, logs and transforms (BEP014 is not part of BIDS yet).",
    "/measures.tsv",
    "/measures.json",
    "/lesions.json",
    "/cohort/",
    "*_measures.json",
    "*_lesions.tsv",
    "*_xfm.txt",
    "*.html",
    "*.pdf",
    "*_review.json",
    "*_thumbnail.svg",
    "original/",
    "logs/",
)
README = """# Markers of cerebral small vessel disease

Measured by smallvessel. Research use only, no diagnosis.

- `measures.tsv`: a row per session; `measures.json` describes its columns. `n/a` means not assessed, never zero.
- `index.html`: all sessions; `sub-*.html`: a report per session.
- `sub-*/**/*_measures.json`: all that was measured on a session, why something was not, the quality checks, and how it was made.
- `sub-*/**/*_lesions.tsv`: a row per lesion; `lesions.json` describes its columns.
- `*_space-FLAIR_label-WMH_mask.nii.gz`: a marker on the very grid of the sequence that `space` names; likewise `_probseg`.
- `*_space-FLAIR_res-1mm_*`: on the 1 mm grid on which everything is measured, in the same world as that sequence.
- `*_from-T1w_to-FLAIR_mode-points_xfm.txt`: 4x4 matrix; maps a point in the world of T1w (RAS, mm) to that of FLAIR.
- `logs/`: what happened to each session.
"""


def start_dataset(out: Path, version: str, models: Mapping[str, str], raw: Path | None = None) -> None:
    """Make the output folder a BIDS derivative data set.

    Parameters
    ----------
    out : Path
    version : str
    models : mapping
        Network name to its version and hash.
    raw : Path, optional
        The BIDS data set that is measured; the link to it is relative, so that both can move together.

    Raises
    ------
    InputError
        When the folder cannot be written or belongs to something else.
    """
    description = out / "dataset_description.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if description.exists():
            _refuse_foreign(description)
        links = {"raw": _link(raw, out)} if raw else {}
        content = {
            "Name": "Markers of cerebral small vessel disease, measured by smallvessel",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "License": "as the source data",
            "GeneratedBy": [{"Name": "smallvessel", "Version": version, "Description": f"Networks: {describe_networks(models)}"}],
            **({"DatasetLinks": links} if links else {}),
        }
        write_json(description, content)
        write_text(out / ".bidsignore", "\n".join(IGNORED) + "\n")
        write_text(out / "README.md", README)
    except OSError as error:
        raise InputError(
            f"an output folder {out} that cannot be written ({error.strerror})", "a folder to write in", "choose another"
        ) from None


def _link(raw: Path, out: Path) -> str:
    try:
        return Path(os.path.relpath(raw.resolve(), out.resolve())).as_posix()
    except ValueError:  # another drive
        return raw.resolve().as_uri()


def _refuse_foreign(description: Path) -> None:
    makers = read_record(description).get("GeneratedBy", ())
    if "smallvessel" not in [str(entry.get("Name")) for entry in makers if isinstance(entry, dict)]:
        raise InputError(
            f"a data set in the output folder that smallvessel did not make, {description}",
            "a new folder or that of an earlier run",
            "choose another output folder",
        )
