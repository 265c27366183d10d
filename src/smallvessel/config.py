"""Settings: documented frozen dataclasses, read from TOML, checked, and hashed for resuming.

Only what changes a result is a setting; the number of processes is not one, so it never invalidates a finished session.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from .errors import InputError
from .markers import Marker
from .reference import Reference, reference_from_dict

E = TypeVar("E", bound=StrEnum)


class PeriventricularRule(StrEnum):
    """How a white matter hyperintensity is called periventricular or deep.

    The split is arbitrary: periventricular and deep volumes share most of their variance (DeCarli et al. 2005, R2 > 0.87),
    so the rule is an option and is written into every result.
    """

    CONTINUITY_3_10 = "continuity_3_10"
    """A lesion that touches the ventricles' rim and stays within reach is periventricular; one that touches it and leaves is
    confluent, its voxels divided at the reach; one that never touches is deep."""
    VOXELWISE_10 = "voxelwise_10"
    """Each voxel within reach of the ventricles is periventricular, the others are deep."""
    BANDS_3_13 = "bands_3_13"
    """Voxels within the rim are juxtaventricular, then periventricular up to the outer band, then deep."""
    TOUCHING = "touching"
    """A lesion that touches the ventricles' rim is periventricular as a whole, the others are deep."""


@dataclass(frozen=True)
class MeasureSettings:
    """How masks become numbers.

    Raises
    ------
    InputError
        When a value is of the wrong kind or out of its range.
    """

    periventricular_rule: PeriventricularRule = PeriventricularRule.CONTINUITY_3_10
    """Which of the four rules divides white matter hyperintensities."""
    rim_mm: float = 3.0
    """Distance from the ventricles within which a lesion touches them; 0.5 to 10."""
    reach_mm: float = 10.0
    """Distance from the ventricles at which periventricular ends (continuity and voxel-wise rules); above the rim, up to 30."""
    outer_band_mm: float = 13.0
    """Distance from the ventricles at which the second band ends (bands rule); above the rim, up to 30."""

    def __post_init__(self) -> None:
        rule = _member(PeriventricularRule, self.periventricular_rule, "measure.periventricular_rule")
        object.__setattr__(self, "periventricular_rule", rule)
        object.__setattr__(self, "rim_mm", _number(self.rim_mm, "measure.rim_mm", 0.5, 10.0))
        object.__setattr__(self, "reach_mm", _number(self.reach_mm, "measure.reach_mm", self.rim_mm, 30.0))
        object.__setattr__(self, "outer_band_mm", _number(self.outer_band_mm, "measure.outer_band_mm", self.rim_mm, 30.0))


@dataclass(frozen=True)
class Settings:
    """Everything that a user can set for a run and that can change a result.

    Raises
    ------
    InputError
        When a value is of the wrong kind or out of its range.
    """

    markers: tuple[Marker, ...] = tuple(Marker)
    """Markers to segment and measure; kept in the order of the table of markers, without repeats."""
    trust_header: bool = False
    """Accept images without a declared orientation, or whose two orientations contradict each other."""
    write_probability: bool = True
    """Write the probability map of each marker beside its mask."""
    write_report: bool = True
    """Write an HTML report for each session."""
    write_pdf: bool = False
    """Write the report as a PDF too; needs the extra [pdf]."""
    measure: MeasureSettings = field(default_factory=MeasureSettings)
    """How masks become numbers."""
    reference: Reference | None = None
    """The cohort against which Z scores are computed; from the command line alone."""
    z_over_assessed: bool = False
    """Make the total Z score from the markers that were assessed, instead of none when one is missing."""

    def __post_init__(self) -> None:
        if isinstance(self.markers, str) or not isinstance(self.markers, (list, tuple)) or not self.markers:
            raise InputError(f"markers = {self.markers!r}", f"a list of one or more of {', '.join(Marker)}", "name the markers to measure")
        chosen = {_member(Marker, marker, "markers") for marker in self.markers}
        object.__setattr__(self, "markers", tuple(marker for marker in Marker if marker in chosen))
        for name in ("trust_header", "write_probability", "write_report", "write_pdf", "z_over_assessed"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} = {getattr(self, name)!r}", "true or false", f"correct {name} in the settings")
        if not isinstance(self.measure, MeasureSettings):
            raise InputError(f"measure = {self.measure!r}", "a table of settings", "write its settings under [measure]")

    def as_dict(self) -> dict[str, Any]:
        """Plain values (str, float, bool, list, dict), ready for JSON or TOML."""
        plain = asdict(self)
        plain["markers"] = [str(marker) for marker in self.markers]
        plain["measure"]["periventricular_rule"] = str(self.measure.periventricular_rule)
        plain["reference"] = self.reference and self.reference.as_dict()
        return plain

    def digest(self) -> str:
        """SHA-256 of the canonical JSON: equal settings give equal digests, in any process. Whether reports are written does not count."""
        deciding = {name: value for name, value in self.as_dict().items() if name not in ("write_report", "write_pdf")}
        return hashlib.sha256(json.dumps(deciding, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_settings(path: Path) -> Settings:
    """Read settings from a TOML file; what it does not name keeps its default.

    Parameters
    ----------
    path : Path
        For example ``markers = ["WMH", "CMB"]`` and, in a table ``[measure]``, ``periventricular_rule = "touching"``.

    Raises
    ------
    InputError
        When the file cannot be read, names an unknown setting, or a value is out of its range.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"settings {path} that cannot be opened ({reason})", "a TOML file", "check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"settings {path} that are not TOML ({error})", "a TOML file", "correct the file") from None
    return settings_from_dict(table)


def settings_from_dict(table: Mapping[str, Any]) -> Settings:
    """Settings from plain values, as :meth:`Settings.as_dict` gives them or a TOML file holds them.

    Raises
    ------
    InputError
        When it names an unknown setting, or a value is of the wrong kind or out of its range.
    """
    _refuse_unknown(table, Settings, "")
    values = dict(table)
    if values.get("reference") is not None:
        try:
            values["reference"] = reference_from_dict(values["reference"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"reference = ..., which is no reference ({error})", "a reference cohort", "give its file with --reference instead"
            ) from None
    measure = values.pop("measure", {})
    if not isinstance(measure, Mapping):
        raise InputError(f"measure = {measure!r}", "a table of settings", "write its settings under [measure]")
    _refuse_unknown(measure, MeasureSettings, "measure.")
    return Settings(**values, measure=MeasureSettings(**measure))


def _refuse_unknown(table: Mapping[str, Any], record: type, prefix: str) -> None:
    known = [entry.name for entry in fields(record)]
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise InputError(
            f"unknown settings {', '.join(prefix + name for name in unknown)}",
            f"settings among {', '.join(prefix + name for name in known)}",
            "correct or remove them",
        )


def _member(kind: type[E], value: object, name: str) -> E:
    for member in kind:
        if isinstance(value, str) and value.casefold() == member.value.casefold():
            return member
    raise InputError(f"{name} = {value!r}", f"one of {', '.join(kind)}", f"correct {name} in the settings")


def _number(value: object, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InputError(f"{name} = {value!r}", f"a number from {low:g} to {high:g}", f"correct {name} in the settings")
    return float(value)
