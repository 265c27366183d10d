"""How much disease a brain has: drawn from none to severe, its parts together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BurdenSettings:
    """How much disease is drawn. Own choices that span the visual scales from 0 to their top grade."""

    none_share: float = 0.25
    """Share of brains without a given marker, for each marker."""
    rim_mm: tuple[float, float] = (0.04, 6.0)
    """Range, log-uniform, of the usual thickness of the periventricular rim. With the deep WMH, brains that have any come to 10 mL in the
    median, from below 1 to above 100."""
    deep_wmh_per_l: tuple[float, float] = (8.0, 260.0)
    """Range, log-uniform, of the density of deep WMH per litre of white matter."""
    pontine_share: float = 0.2
    """Share of brains with WMH that have one in the middle of the brainstem too. Own choice."""
    lacunes_per_l: tuple[float, float] = (2.0, 45.0)
    """Range, log-uniform, of the density of lacunes per litre of deep tissue."""
    epvs_nuclei_per_l: tuple[float, float] = (20.0, 900.0)
    """Range, log-uniform, of the density of EPVS per litre of basal ganglia and their capsules."""
    epvs_white_per_l: tuple[float, float] = (15.0, 550.0)
    """Range, log-uniform, of the density of EPVS per litre of cerebral white matter."""
    cmb_per_l: tuple[float, float] = (1.0, 45.0)
    """Range, log-uniform, of the density of CMB per litre of brain."""
    old_lesion_share: float = 0.15
    """Share of brains with an old infarct or haemorrhage, which is no marker; of these the same share has two. Own choice."""


@dataclass(frozen=True)
class Burden:
    """One brain's disease: mean rim thickness in mm and densities per litre; 0 where there is none.

    ``old_lesions`` is a number: infarcts and haemorrhages, which are no markers; ``pontine`` the chance of a WMH in the brainstem's middle.
    """

    rim_mm: float
    deep_wmh_per_l: float
    lacunes_per_l: float
    epvs_nuclei_per_l: float
    epvs_white_per_l: float
    cmb_per_l: float
    old_lesions: int = 0
    pontine: float = 0.0


def draw_burden(rng: np.random.Generator, settings: BurdenSettings = BurdenSettings()) -> Burden:
    """Draw a burden; its parts go together, since the disease is one."""
    severity = rng.uniform()

    def part(bounds: tuple[float, float]) -> float:
        share = np.clip(0.5 * severity + 0.5 * rng.uniform() + rng.normal(0, 0.12), 0, 1)
        return float(np.exp(np.log(bounds[0]) + share * np.log(bounds[1] / bounds[0])))

    none = rng.random(4) < settings.none_share
    return Burden(
        rim_mm=0.0 if none[0] else part(settings.rim_mm),
        deep_wmh_per_l=0.0 if none[0] else part(settings.deep_wmh_per_l),
        lacunes_per_l=0.0 if none[1] else part(settings.lacunes_per_l),
        epvs_nuclei_per_l=0.0 if none[2] else part(settings.epvs_nuclei_per_l),
        epvs_white_per_l=0.0 if none[2] else part(settings.epvs_white_per_l),
        cmb_per_l=0.0 if none[3] else part(settings.cmb_per_l),
        pontine=0.0 if none[0] else settings.pontine_share,
        old_lesions=int((rng.random(2) < settings.old_lesion_share).cumprod().sum()),
    )
