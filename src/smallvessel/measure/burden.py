"""The quantitative burden: each marker against a reference cohort as a Z score, and one total.

z = (f(x) - mean) / sd, with x the volume in mL per litre of intracranial volume, or the count, and f, mean and sd those of the
reference. The volume-based total is the design of Zhao et al. 2025, 10.3389/fneur.2025.1540923, whose abstract says only that a
Z score was computed from the markers' volumes; the count-based one stands beside it because the number of lacunes, not their
volume, follows severity (Hotz et al. 2021, recalled, not read); the number of WMH, which falls when they run together, is no part of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..markers import Marker
from ..participants import UNKNOWN, Traits
from ..records import Burden, MarkerMeasures, NotAssessed
from ..reference import PER_LITRE, Reference, total_z, z_score

Zs = dict[str, float | NotAssessed]


def score_burden(
    markers: Mapping[Marker, MarkerMeasures | NotAssessed],
    icv_ml: float | NotAssessed,
    reference: Reference,
    over_assessed: bool = False,
    traits: Traits = UNKNOWN,
) -> Burden:
    """Z scores of a session.

    Parameters
    ----------
    markers : mapping
    icv_ml : float or NotAssessed
        Volumes are relative to it; without it only counts have a z.
    reference : Reference
    over_assessed : bool
        Make the total from the markers that were assessed, instead of none when one is missing.
    traits : Traits
        Age and sex, for a reference that is adjusted for them.
    """
    volume: Zs = {}
    count: Zs = {}
    for marker in Marker:
        measured = markers[marker]
        if isinstance(measured, NotAssessed):
            volume[marker] = count[marker] = measured
            continue
        count[marker] = z_score(marker, float(measured.count), reference.count, reference, traits)
        if isinstance(icv_ml, NotAssessed):
            volume[marker] = NotAssessed(f"needs the intracranial volume: {icv_ml.reason}")
        else:
            volume[marker] = z_score(marker, PER_LITRE * measured.volume_ml / icv_ml, reference.volume, reference, traits)
    for kind, zs in (("volume", volume), ("count", count)):
        zs["total"] = total_z(zs, kind, reference.total, over_assessed)
    return Burden(reference.name, volume, count)
