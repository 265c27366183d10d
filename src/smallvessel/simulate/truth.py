"""Where a simulated data set keeps what is true of its sessions; read without torch."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

from ..markers import MARKERS, Marker, Sequence


def truth_path(out: Path, subject: str, marker: Marker, shown_on: Iterable[Sequence] = ()) -> Path:
    """True mask of a marker: what a rater draws on all sequences of the session, or only on those given."""
    some = "".join(shown_on)
    desc = f"desc-{some}_" if some else ""
    return out / "derivatives" / "truth" / f"sub-{subject}" / "anat" / f"sub-{subject}_{desc}label-{marker}_mask.nii.gz"


def find_truth(out: Path, subject: str, marker: Marker, images: Iterable[Sequence]) -> Path:
    """True mask of a marker as a rater would draw it who has these sequences alone.

    Lacunes and perivascular spaces may be plain on one sequence and hidden in the thick slices of another.
    """
    images = set(images)
    fewer = truth_path(out, subject, marker, (sequence for sequence in MARKERS[marker].seen_on if sequence in images))
    return fewer if fewer.exists() else truth_path(out, subject, marker)


def record_path(out: Path, subject: str) -> Path:
    """Where it keeps what a session was drawn from; written last."""
    return out / "derivatives" / "truth" / f"sub-{subject}" / "anat" / f"sub-{subject}_simulation.json"


def shown_on(marker: Marker, images: Iterable[Sequence]) -> list[tuple[Sequence, ...]]:
    """All sets of the images that show a marker, and suffice to rate it; the whole set comes last."""
    images = set(images)
    able = [sequence for sequence in MARKERS[marker].seen_on if sequence in images]
    sets = (chosen for size in range(1, len(able) + 1) for chosen in combinations(able, size))
    return [chosen for chosen in sets if set(chosen) & set(MARKERS[marker].rated_on)]
