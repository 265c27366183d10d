"""Accuracy on real scans: brain masks, registrations and WMH against published references. Computed with our own metrics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from machine import markdown_table
from smallvessel.derivatives import session_files
from smallvessel.evaluate.voxel import dice
from smallvessel.markers import Marker
from smallvessel.markers import Sequence as MrSequence
from smallvessel.records import NotAssessed, SessionId
from smallvessel.volume import LPS_FROM_RAS, Mask, Transform, read_mask

TRUNCATED = ("03",)
"""Subjects whose reference brain mask is truncated: shown, not counted."""
REFERENCE_NAMES = {MrSequence.FLAIR: "FLAIR", MrSequence.T1W: "T1W", MrSequence.T2W: "T2W"}
BRAIN_STEP = 37
"""Every 37th voxel of the brain is enough for a mean displacement."""


def read_itk_transform(path: Path) -> Transform:
    """An ITK text transform as it maps points of the fixed image to the moving one, RAS mm."""
    fields = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    parameters = np.array(fields["Parameters"].split(), float)
    centre = np.array(fields["FixedParameters"].split(), float)
    lps = np.eye(4)
    lps[:3, :3] = parameters[:9].reshape(3, 3)
    lps[:3, 3] = parameters[9:] + centre - lps[:3, :3] @ centre
    return Transform(LPS_FROM_RAS @ lps @ LPS_FROM_RAS)


def score_openms(data: Path, out: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Brain Dice on each native grid and registration errors in mm of the multiple sclerosis sessions.

    A missing result is NaN: it is shown, and its table says so.
    """
    brains, registrations = [], []
    for folder in sorted(data.glob("sub-*/ses-*")):
        id = SessionId(folder.parent.name[4:], folder.name[4:])
        reference = data / "derivatives" / "reference" / f"sub-{id.subject}"
        common = read_mask(reference / f"sub-{id.subject}_space-common_label-brain_mask.nii.gz")
        study = f"study{folder.name[-1]}"
        flair_from_common = read_itk_transform(reference / f"{study}_FLAIR_to_common_space.txt")
        for sequence, name in REFERENCE_NAMES.items():
            if not list(folder.rglob(f"*_{sequence}.nii.gz")):
                continue
            native_from_flair = Transform.identity()
            if sequence is not MrSequence.FLAIR:
                native_from_flair = read_itk_transform(reference / f"{study}_{name}_intrastudy_to_FLAIR.txt")
                found = out / session_files(id).transform(sequence, MrSequence.FLAIR)
                in_flair = flair_from_common(common.grid.world(np.argwhere(common.data)[::BRAIN_STEP]))
                error_mm = mean_displacement_mm(found, native_from_flair, in_flair)
                registrations.append({"session": str(id), "sequence": str(sequence), "error_mm": error_mm})
            mask = out / session_files(id).image(sequence, "label-brain_mask")
            value = brain_dice(mask, common, native_from_flair @ flair_from_common)
            brains.append({"session": str(id), "sequence": str(sequence), "dice": value, "counted": id.subject not in TRUNCATED})
    return brains, registrations


def mean_displacement_mm(found: Path, native_from_flair: Transform, in_flair_mm: NDArray[np.float64]) -> float:
    """Mean distance between where the found and the reference transform put points of the brain; NaN without a transform."""
    if not found.exists():
        return math.nan
    flair_from_native = Transform(np.loadtxt(found))
    return float(np.linalg.norm(flair_from_native.inverse()(in_flair_mm) - native_from_flair(in_flair_mm), axis=1).mean())


def brain_dice(path: Path, common: Mask, native_from_common: Transform) -> float:
    """Dice of a brain mask on its own grid against the reference in the common space; NaN without a mask."""
    if not path.exists():
        return math.nan
    mine = read_mask(path)
    world = mine.grid.world(np.indices(mine.grid.shape).reshape(3, -1).T)
    index = np.rint(common.grid.voxels(native_from_common.inverse()(world))).astype(int)
    inside = np.all((index >= 0) & (index < common.grid.shape), axis=1)
    truth = np.zeros(len(index), bool)
    truth[inside] = common.data[tuple(index[inside].T)]
    return _number(dice(mine, Mask(truth.reshape(mine.grid.shape), mine.grid)))


def score_wmh(data: Path, outs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Dice of WMH against the manual masks by case: ours, by what it was made from, beside the peers'."""
    scores: dict[str, dict[str, float]] = {}
    for manual in sorted((data / "derivatives" / "manual").rglob("*_label-WMH_mask.nii.gz")):
        subject = manual.name.split("_")[0].removeprefix("sub-")
        truth = read_mask(manual)
        row = {}
        for name, out in outs.items():
            mine = out / session_files(SessionId(subject)).image(MrSequence.FLAIR, f"label-{Marker.WMH}_mask")
            if mine.exists():
                row[name] = _dice_on_same_voxels(read_mask(mine), truth)
        for peer in sorted((data / "derivatives").glob("peer-*")):
            files = sorted((peer / f"sub-{subject}").rglob("*_mask.nii.gz"))
            if files:
                row[peer.name.removeprefix("peer-")] = _dice_on_same_voxels(read_mask(files[0]), truth)
        scores[f"sub-{subject}"] = row
    return scores


def to_markdown(
    brains: Sequence[Mapping[str, Any]], registrations: Sequence[Mapping[str, Any]], lesions: Mapping[str, Mapping[str, float]]
) -> str:
    """The result as Markdown."""
    brain_rows = [
        (f"{row['session']} {row['sequence']}", _text(row["dice"]) + ("" if row["counted"] else " (reference truncated, not counted)"))
        for row in brains
    ]
    dices = [row["dice"] for row in brains if row["counted"]]
    brain_rows += [("**median**", _statistic(dices, statistics.median)), ("**worst**", _statistic(dices, min))]
    errors = [row["error_mm"] for row in registrations]
    error_rows = [(f"{row['session']} {row['sequence']}", _text(row["error_mm"], 2)) for row in registrations]
    error_rows += [("**median**", _statistic(errors, statistics.median, 2)), ("**worst**", _statistic(errors, max, 2))]
    tools = list(dict.fromkeys(tool for row in lesions.values() for tool in row))
    lesion_rows = [(case, *(_text(row.get(tool, math.nan)) for tool in tools)) for case, row in lesions.items()]
    means = [_defined(row[tool] for row in lesions.values() if tool in row) for tool in tools]
    lesion_rows.append(("**mean (n)**", *(f"{_statistic(values, statistics.mean)} ({len(values)})" for values in means)))
    return (
        "# Accuracy on real scans\n\n"
        "Multiple sclerosis patients (open_ms_data, CC-BY, Lesjak et al., University of Ljubljana; Sim-Vent-WMH-Seg, MIT, Mahdi-Bashiri): "
        "not the population that this software is for, but the ones with public references.\n\n"
        "## Brain mask, Dice on the native grid\n\n"
        + markdown_table(("image", "Dice"), brain_rows)
        + f"\nn = {len(_defined(dices))} of {len(dices)}.\n\n"
        "## Rigid registration to FLAIR, mean displacement over the brain against the reference matrix, mm\n\n"
        + markdown_table(("image", "mm"), error_rows)
        + f"\nn = {len(_defined(errors))} of {len(errors)}.\n\n"
        "## White matter hyperintensities, Dice against manual masks\n\n" + markdown_table(("case", *tools), lesion_rows)
    )


def _dice_on_same_voxels(mask: Mask, truth: Mask) -> float:
    """Dice of masks with the same voxels; headers may differ by less than a tenth of a millimetre. NaN on another grid."""
    same = mask.grid.same_as(truth.grid, tolerance_mm=0.1)
    return _number(dice(Mask(mask.data, truth.grid), truth)) if same else math.nan


def _number(value: float | NotAssessed) -> float:
    return math.nan if isinstance(value, NotAssessed) else value


def _defined(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _statistic(values: Iterable[float], statistic: Any, decimals: int = 3) -> str:
    defined = _defined(values)
    return f"{statistic(defined):.{decimals}f}" if defined else "n/a"


def _text(value: float, decimals: int = 3) -> str:
    return "n/a" if math.isnan(value) else f"{value:.{decimals}f}"
