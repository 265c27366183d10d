"""Results as plain values: a session's record (JSON), its lesions and the table of all sessions (TSV), each column described.

Numbers are rounded here, once, so that the same result always gives the same text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .expected import CONFIDENCE_DECIMALS
from .markers import MARKERS, Marker
from .models import describe_networks
from .participants import UNKNOWN
from .records import Burden, Check, Lesion, MarkerMap, MarkerMeasures, NotAssessed, Provenance, Score, SessionResult, Status
from .reference import TOTAL_OF
from .scales import DETAILS, SCALES

NOT_AVAILABLE = "n/a"
ML_DECIMALS = 4
Z_DECIMALS = 4
MM_DECIMALS = 2
CHECK_DECIMALS = 4
SECONDS_DECIMALS = 2

Columns = dict[str, dict[str, Any]]
"""A column's name to its BIDS description: Description, Units, Levels."""

LESION_COLUMNS: Columns = {
    "marker": {"Description": "Marker of small vessel disease", "Levels": {str(marker): info.name for marker, info in MARKERS.items()}},
    "label": {"Description": "Value of the lesion in the marker's _dseg image on the analysis grid"},
    "volume_mm3": {"Description": "Volume", "Units": "mm^3"},
    "diameter_mm": {"Description": "Largest diameter", "Units": "mm"},
    "x_mm": {"Description": "Centroid in the reference image's world, towards the right", "Units": "mm"},
    "y_mm": {"Description": "Centroid in the reference image's world, towards the front", "Units": "mm"},
    "z_mm": {"Description": "Centroid in the reference image's world, towards the top", "Units": "mm"},
    "region": {"Description": "Region by which the marker is counted"},
    "mars_region": {"Description": "Region of the Microbleed Anatomical Rating Scale; n/a for markers that it does not rate"},
    "side": {"Description": "Hemisphere", "Levels": {"left": "left", "right": "right", "midline": "midline structure"}},
    "confidence": {"Description": "Calibrated probability of the lesion's core, 0 to 1; 1 where a person drew it"},
    "chance": {
        "Description": "How often lesions of this confidence and volume were ones on simulated validation sessions; n/a after a review"
    },
}

RANGES = ("volume_ml_low", "volume_ml_high", "count_low", "count_high")
Z_PREFIX = {"volume": "z_", "count": "z_count_"}

QC_LEVELS: dict[Status, str] = {
    "pass": "no quality check warned or failed",
    "warn": "at least one quality check warned: look at the session",
    "fail": "at least one quality check failed: do not use the session unseen",
}


def tsv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Tab-separated text with a header line."""
    return "".join("\t".join(row) + "\n" for row in (header, *rows))


def lesion_rows(lesions: Iterable[Lesion]) -> Iterator[tuple[str, ...]]:
    """One row of text per lesion, in the order of ``LESION_COLUMNS``."""
    for lesion in lesions:
        yield (
            str(lesion.marker),
            str(lesion.label),
            f"{lesion.volume_mm3:.{MM_DECIMALS}f}",
            f"{lesion.diameter_mm:.{MM_DECIMALS}f}",
            *(f"{round(value, MM_DECIMALS) + 0.0:.{MM_DECIMALS}f}" for value in lesion.centroid_mm),
            lesion.region,
            lesion.mars_region or NOT_AVAILABLE,
            lesion.side,
            f"{lesion.confidence:.{CONFIDENCE_DECIMALS}f}",
            NOT_AVAILABLE if lesion.chance is None else f"{lesion.chance:.{CONFIDENCE_DECIMALS}f}",
        )


def lesions_digest(lesions: Iterable[Lesion]) -> str:
    """SHA-256 of the lesions as they are written: tells whether a review was made on these very lesions."""
    return hashlib.sha256(tsv(tuple(LESION_COLUMNS), lesion_rows(lesions)).encode()).hexdigest()


def worst_status(checks: Iterable[Check]) -> Status:
    """The session's quality: the worst of its checks."""
    found = {check.status for check in checks}
    return "fail" if "fail" in found else "warn" if "warn" in found else "pass"


def session_record(result: SessionResult) -> dict[str, Any]:
    """Everything measured on a session and how, as plain values for its ``measures.json``.

    What was not assessed is ``{"not_assessed": reason}``.
    """
    prepared, measured = result.prepared, result.measurements
    return {
        "participant_id": f"sub-{result.id.subject}",
        "session_id": f"ses-{result.id.session}" if result.id.session else None,
        "sequences": [str(sequence) for sequence in prepared.native],
        "reference": str(prepared.reference),
        "brain_extracted": prepared.brain_extracted,
        "icv_ml": _ml(measured.icv_ml),
        "brain_ml": _ml(measured.brain_ml),
        "structure_ml": {name: _ml(value) for name, value in measured.structure_ml.items()},
        "markers": {str(marker): _marker_record(found) for marker, found in measured.markers.items()},
        "scores": {str(scale): _score_record(score) for scale, score in measured.scores.items()},
        "z": _burden_record(measured.burden),
        "expected_errors": {
            str(marker): asdict(found.errors)
            for marker, found in result.segmentation.markers.items()
            if isinstance(found, MarkerMap) and found.errors is not None
        },
        "qc": {"status": worst_status(prepared.checks), "checks": [_check_record(check) for check in prepared.checks]},
        "provenance": _provenance_record(result.provenance),
        **({"reviews": [asdict(review) | {"changes": list(review.changes)} for review in result.reviews]} if result.reviews else {}),
    }


def measures_table(records: Sequence[Mapping[str, Any]]) -> tuple[Columns, list[tuple[str, ...]]]:
    """The table of all sessions from their records.

    Parameters
    ----------
    records : sequence of mapping
        As :func:`session_record` makes them; read back from the session files.

    Returns
    -------
    columns : dict
        Column name to its description, in the table's order.
    rows : list of tuple of str
        ``n/a`` where something was not assessed or is not known.
    """
    columns: Columns = {
        "participant_id": {"Description": "Participant"},
        "session_id": {"Description": "Session; n/a for a participant without sessions"},
        "sequences": {"Description": "MR sequences that were used, joined by +"},
        "icv_ml": {"Description": "Intracranial volume; n/a for images that came without a skull", "Units": "mL"},
        "brain_ml": {"Description": "Brain volume with ventricles and the fluid of the sulci", "Units": "mL"},
    }
    for marker, info in MARKERS.items():
        columns[f"{info.column}_volume_ml"] = {"Description": f"Volume of {info.name}", "Units": "mL"}
        columns[f"{info.column}_count"] = {"Description": f"Number of {info.name} (26-connected components)"}
        for region in _regions(records, marker):
            prefix = f"{info.column}_{_column(region)}"
            if any("volume_ml" in record["markers"].get(marker, {}).get("regions", {}).get(region, {}) for record in records):
                columns[f"{prefix}_volume_ml"] = {"Description": f"Volume of {info.name}, {region}", "Units": "mL"}
            columns[f"{prefix}_count"] = {"Description": f"Number of {info.name}, {region}"}
        for kind, unit in (("volume_ml", {"Units": "mL"}), ("count", {})):
            for end, word in (("low", "Lower"), ("high", "Upper")):
                if any(f"{kind}_{end}" in record["markers"].get(marker, {}) for record in records):
                    what = f"{word} end of the 95 % interval of the true {kind.split('_')[0]} of {info.name}"
                    columns[f"{info.column}_{kind}_{end}"] = {"Description": f"{what}, from errors on simulated sessions", **unit}
        for column, detail in DETAILS.items():
            if detail.marker is marker:
                unit = {"Units": detail.unit} if detail.unit else {}
                columns[column] = {"Description": f"{detail.description}. {detail.citation}.", **unit}
    for scale, scale_info in SCALES.items():
        how = f"computed from masks, not rated. {scale_info.rule} {scale_info.citation}."
        columns[str(scale)] = {
            "Description": f"{scale_info.name}, 0 to {scale_info.highest}: {how}",
            "Levels": {str(value): level for value, level in scale_info.levels.items()},
        }
    names = sorted({record["z"]["reference"] for record in records if "reference" in record.get("z", {})})
    if names:
        for kind, prefix in Z_PREFIX.items():
            for part in (*Marker, "total"):
                of = TOTAL_OF[kind] if part == "total" else (Marker(part),)
                what = "all markers" if of == tuple(Marker) else " and ".join(MARKERS[marker].name for marker in of)
                columns[f"{prefix}{_z_column(part)}"] = {"Description": f"Z score of the {kind} of {what}; reference: {', '.join(names)}"}
            columns[f"markers_in_{prefix}total"] = {"Description": f"Markers of which {prefix}total is made, joined by +"}
        columns["reference_cohort"] = {"Description": "Reference cohort of this session's Z scores"}
    columns["qc_status"] = {"Description": "Worst of the session's quality checks", "Levels": dict(QC_LEVELS)}
    columns["software_version"] = {"Description": "Version of smallvessel that measured this session"}
    columns["networks"] = {
        "Description": "Networks that measured this session, each with its version, the SHA-256 of its weights and, where it has operating "
        "points, their hash; only volumes and counts of the same networks are comparable"
    }
    if any("reviews" in record for record in records):
        columns["reviewed_by"] = {"Description": "Who reviewed the lesions; n/a for a session as it was measured"}
    rows = [tuple(_text(values.get(column)) for column in columns) for values in map(_table_values, records)]
    return columns, rows


def _table_values(record: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: record[name] for name in ("participant_id", "session_id", "icv_ml", "brain_ml")}
    values |= {"sequences": "+".join(record["sequences"]), "qc_status": record["qc"]["status"]}
    values["reference_cohort"] = record.get("z", {}).get("reference")
    values["software_version"] = record["provenance"]["version"]
    values["networks"] = describe_networks(record["provenance"]["models"]) or None
    values["reviewed_by"] = ", ".join(dict.fromkeys(review["reviewer"] for review in record.get("reviews", ()))) or None
    for kind, prefix in Z_PREFIX.items():
        zs = record.get("z", {}).get(kind, {})
        values |= {f"{prefix}{_z_column(part)}": z for part, z in zs.items()}
        parts = [part for part in TOTAL_OF[kind] if isinstance(zs.get(part), float)]
        values[f"markers_in_{prefix}total"] = "+".join(parts) if isinstance(zs.get("total"), float) else None
    values |= {scale: score.get("value") for scale, score in record.get("scores", {}).items()}
    for marker, info in MARKERS.items():
        found = record["markers"].get(marker, {})
        values |= {f"{info.column}_{name}": found.get(name) for name in ("volume_ml", "count", *RANGES)} | found.get("details", {})
        if "regions" in found:  # a lesion of which no region is known is rare: the sessions without one have none of them
            values |= {f"{info.column}_unknown_volume_ml": 0.0, f"{info.column}_unknown_count": 0}
        for region, numbers in found.get("regions", {}).items():
            values |= {f"{info.column}_{_column(region)}_{name}": value for name, value in numbers.items()}
    return values


def _z_column(part: str) -> str:
    return "total" if part == "total" else MARKERS[Marker(part)].column


def _text(value: Any) -> str:
    if value is None or isinstance(value, Mapping):
        return NOT_AVAILABLE
    return f"{value:.{ML_DECIMALS}f}" if isinstance(value, float) else str(value)


def _regions(records: Sequence[Mapping[str, Any]], marker: Marker) -> tuple[str, ...]:
    """Regions of a marker in the order in which the sessions have them; one that the images do not reach has none there."""
    return tuple(dict.fromkeys(region for record in records for region in record["markers"].get(marker, {}).get("regions", {})))


def _column(region: str) -> str:
    return region.lower().replace(" ", "_").replace("-", "_")


def _ml(value: float | NotAssessed) -> Any:
    return {"not_assessed": value.reason} if isinstance(value, NotAssessed) else round(float(value), ML_DECIMALS)


def _marker_record(found: MarkerMeasures | NotAssessed) -> dict[str, Any]:
    if isinstance(found, NotAssessed):
        return {"not_assessed": found.reason}
    # confluent WMH are counted, while their volume is divided between other regions
    volumes = {region: {"volume_ml": _ml(volume_ml)} for region, volume_ml in found.region_volume_ml.items()}
    regions = {region: volumes.get(region, {}) | {"count": int(count)} for region, count in found.region_count.items()}
    record = {"volume_ml": _ml(found.volume_ml), "count": int(found.count), "regions": regions}
    for kind, ends in (("volume_ml", found.volume_range_ml), ("count", found.count_range)):
        if ends is not None:
            record |= {f"{kind}_{end}": _detail(value) for end, value in zip(("low", "high"), ends, strict=True)}
    return record | ({"details": {name: _detail(value) for name, value in found.details.items()}} if found.details else {})


def _detail(value: float | int) -> float | int:
    return round(value, ML_DECIMALS) if isinstance(value, float) else int(value)


def _score_record(score: Score | NotAssessed) -> dict[str, Any]:
    if isinstance(score, NotAssessed):
        return {"not_assessed": score.reason} | ({"possible": list(score.possible)} if score.possible else {})
    record: dict[str, Any] = {"value": score.value, "evidence": score.evidence, "next_grade": score.next_grade}
    if score.to_next is not None:
        record["to_next"] = round(score.to_next, MM_DECIMALS)
    if score.lesions:
        record["lesions"] = list(score.lesions)
    chances = {str(grade): round(chance, CONFIDENCE_DECIMALS) for grade, chance in score.chances.items()}
    return record | ({"chances": chances} if chances else {})


def _burden_record(burden: Burden | NotAssessed) -> dict[str, Any]:
    if isinstance(burden, NotAssessed):
        return {"not_assessed": burden.reason}
    kinds = {"volume": burden.volume, "count": burden.count}
    return {"reference": burden.reference} | {kind: {name: _z(z) for name, z in zs.items()} for kind, zs in kinds.items()}


def _z(z: float | NotAssessed) -> Any:
    return {"not_assessed": z.reason} if isinstance(z, NotAssessed) else round(z, Z_DECIMALS)


def _check_record(check: Check) -> dict[str, Any]:
    value = None if check.value is None else round(float(check.value), CHECK_DECIMALS)
    return {
        "name": check.name,
        "value": value,
        "unit": check.unit,
        "limit": check.limit,
        "status": check.status,
        "message": check.message,
    }


def _provenance_record(made: Provenance) -> dict[str, Any]:
    return {
        "version": made.version,
        "digest": made.digest,
        "sources": dict(made.sources),
        "inputs_sha256": dict(made.inputs),
        "models": dict(made.models),
        "settings": dict(made.settings),
        "packages": dict(made.packages),
        "timings_s": {stage: round(seconds, SECONDS_DECIMALS) for stage, seconds in made.timings_s.items()},
        "peak_memory_mb": round(made.peak_memory_mb),
        "methods": made.methods,
        "log": list(made.log),
        **({"traits": asdict(made.traits)} if made.traits != UNKNOWN else {}),
    }
