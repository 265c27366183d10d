"""MR signal: from tissues to the intensity of each sequence, by sequence equations with drawn parameters.

Relaxation times are typical values at 3 T (Wansapura 1999, 10.1002/(SICI)1522-2586(199904)9:4<531::AID-JMRI4>3.0.CO;2-L;
Stanisz 2005, 10.1002/mrm.20605; Bojorquez 2017, 10.1016/j.mri.2016.08.021), rounded; they are jittered far beyond
their uncertainty, so that field strength and vendor are covered too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..markers import Sequence
from ..structures import Structure
from .anatomy import TISSUE_COUNT, Tissue

# tissue: (T1 ms, T2 ms, T2* ms, proton density)
RELAXATION: dict[int, tuple[float, float, float, float]] = {
    Structure.BACKGROUND: (1000, 50, 20, 0.0),
    Structure.CSF: (4000, 900, 350, 1.0),
    Structure.WHITE_MATTER: (850, 70, 50, 0.70),
    Structure.CORTEX: (1400, 90, 56, 0.82),
    Structure.LATERAL_VENTRICLE: (4200, 1000, 400, 1.0),
    Structure.THIRD_VENTRICLE: (4200, 1000, 400, 1.0),
    Structure.FOURTH_VENTRICLE: (4200, 1000, 400, 1.0),
    Structure.THALAMUS: (1100, 74, 48, 0.76),
    Structure.CAUDATE: (1280, 84, 45, 0.82),
    Structure.PUTAMEN: (1200, 79, 40, 0.79),
    Structure.PALLIDUM: (950, 60, 28, 0.74),
    Structure.BRAINSTEM: (960, 73, 50, 0.72),
    Structure.VENTRAL_DC: (1020, 70, 40, 0.74),
    Structure.CEREBELLAR_WHITE: (880, 72, 48, 0.70),
    Structure.CEREBELLAR_CORTEX: (1350, 90, 55, 0.82),
    Structure.HIPPOCAMPUS: (1380, 94, 55, 0.82),
    Structure.AMYGDALA: (1350, 92, 52, 0.82),
    Tissue.CHOROID_PLEXUS: (1700, 115, 50, 0.86),
    Tissue.SOFT_TISSUE: (1200, 45, 28, 0.80),
    Tissue.SKIN: (700, 60, 25, 0.70),
    Tissue.COMPACT_BONE: (400, 4, 1, 0.10),
    Tissue.MARROW: (450, 75, 12, 0.70),
    Tissue.MUCOSA: (1600, 130, 30, 0.90),
    Tissue.EYE: (3600, 700, 200, 0.98),
    Tissue.ARTERY: (1900, 120, 40, 0.45),
    Tissue.VEIN: (1700, 60, 18, 0.70),
    Tissue.SPINAL_CORD: (950, 76, 50, 0.74),
    Tissue.OPTIC_NERVE: (900, 75, 48, 0.72),
    Tissue.FAT: (370, 110, 40, 0.95),
}

BRAIN_CODES = np.array([code for code in range(TISSUE_COUNT) if Structure.WHITE_MATTER <= code <= Tissue.CHOROID_PLEXUS])

CONTRAST_POWER = {Sequence.FLAIR: (0.7, 1.1), Sequence.T1W: (0.3, 0.85), Sequence.T2W: (0.4, 0.9), Sequence.SWI: (0.5, 1.05)}
FLUIDS = [Structure.CSF, Structure.LATERAL_VENTRICLE, Structure.THIRD_VENTRICLE, Structure.FOURTH_VENTRICLE]


@dataclass(frozen=True)
class ContrastSettings:
    """How far contrasts vary."""

    brain_jitter: float = 0.03
    """SD of the log of each brain tissue's T1, T2, T2* and PD."""
    contrast_power: Mapping[Sequence, tuple[float, float]] = field(default_factory=lambda: dict(CONTRAST_POWER))
    """Range of the power to which each tissue's signal over white matter's is raised: magnetisation transfer, stimulated echoes and image
    filters leave less contrast than the equations give. On nine real sessions (six of openms, om07, two sv cases) the cortex has
    1.02 to 1.14 times the signal of white matter on FLAIR, .76 to .89 on T1w, 1.19 to 1.33 on T2w; the hippocampus 1.15 to 1.24 on FLAIR,
    the putamen .96 to 1.13."""
    fluid_power: Mapping[Sequence, tuple[float, float]] = field(default_factory=lambda: CONTRAST_POWER | {Sequence.T2W: (0.75, 1.05)})
    """The same for CSF, drawn apart. On T2w its contrast is closer to the equations': ventricles have 2.5 to 3.0 times the signal of white
    matter on the six openms sessions, where eight simulated ones had 1.6 to 1.9 with the power above."""
    relaxation_scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors of all T1, T2 and T2*: another field strength than the table's 3 T."""
    outside_jitter: float = 0.35
    """SD of the log of the signal of each tissue outside the brain."""
    free_share: float = 0.10
    """Share of images whose tissue means are free of any physics, as in SynthSeg."""
    flair_flow: float = 0.25
    """Share of FLAIRs with bright flowing CSF in the basal cisterns and the third and fourth ventricles."""


@dataclass(frozen=True)
class Contrast:
    """The signal of every tissue in one image, white matter about 1.

    Attributes
    ----------
    signal : ndarray of float32, shape (TISSUE_COUNT,)
    equation : str
        What was drawn, for the record.
    """

    sequence: Sequence
    signal: NDArray[np.float32]
    equation: str


def _flair(
    t1: NDArray[np.float64], t2: NDArray[np.float64], pd: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], str]:
    tr, te = rng.uniform(6000, 11000), rng.uniform(85, 145)
    t1_csf = t1[Structure.LATERAL_VENTRICLE]
    null = t1_csf * (np.log(2) - np.log1p(np.exp(-tr / t1_csf)))
    # real ventricles have .4 to .7 of white matter's signal, more than a perfect null leaves
    ti = null * rng.uniform(0.88, 1.04)
    signal = np.abs(pd * (1 - 2 * np.exp(-ti / t1) + np.exp(-tr / t1))) * np.exp(-te / t2)
    return signal, f"inversion recovery TR {tr:.0f} TE {te:.0f} TI {ti:.0f}"


def _t1w(
    t1: NDArray[np.float64], t2: NDArray[np.float64], pd: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], str]:
    if rng.random() < 0.55:
        ti, tr = rng.uniform(800, 1150), rng.uniform(1700, 2600)
        signal = np.abs(pd * (1 - 2 * np.exp(-ti / t1) / (1 + np.exp(-tr / t1))))
        return signal, f"MPRAGE TR {tr:.0f} TI {ti:.0f}"
    tr, te = rng.uniform(350, 750), rng.uniform(8, 20)
    return pd * (1 - np.exp(-tr / t1)) * np.exp(-te / t2), f"spin echo TR {tr:.0f} TE {te:.0f}"


def _t2w(
    t1: NDArray[np.float64], t2: NDArray[np.float64], pd: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], str]:
    tr, te = rng.uniform(2800, 7500), rng.uniform(75, 125)
    return pd * (1 - np.exp(-tr / t1)) * np.exp(-te / t2), f"spin echo TR {tr:.0f} TE {te:.0f}"


def _swi(
    t1: NDArray[np.float64], t2_star: NDArray[np.float64], pd: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], str]:
    tr, te, flip = rng.uniform(27, 800), rng.uniform(14, 32), np.deg2rad(rng.uniform(12, 25))
    e1 = np.exp(-tr / t1)
    return pd * np.sin(flip) * (1 - e1) / (1 - np.cos(flip) * e1) * np.exp(-te / t2_star), f"gradient echo TR {tr:.0f} TE {te:.0f}"


def draw_contrast(sequence: Sequence, rng: np.random.Generator, settings: ContrastSettings = ContrastSettings()) -> Contrast:
    """Draw an image's contrast: physics with jittered relaxation, or, now and then, free tissue means."""
    table = np.array([RELAXATION[code] for code in range(TISSUE_COUNT)])
    free = rng.random() < settings.free_share
    if free:
        signal = rng.uniform(25, 225, TISSUE_COUNT) / 125
        signal[Structure.THIRD_VENTRICLE] = signal[Structure.FOURTH_VENTRICLE] = signal[Structure.LATERAL_VENTRICLE]
        signal[Structure.CSF] = signal[Structure.LATERAL_VENTRICLE] * rng.uniform(0.8, 1.2)
        equation = "free"
    else:
        jitter = np.exp(rng.normal(0, settings.brain_jitter, (TISSUE_COUNT, 4)))
        for fluid in (Structure.CSF, Structure.THIRD_VENTRICLE, Structure.FOURTH_VENTRICLE):
            jitter[fluid] = jitter[Structure.LATERAL_VENTRICLE]
        t1, t2, t2_star, pd = (table * jitter * (*settings.relaxation_scale, 1.0)).T
        if sequence is Sequence.FLAIR:
            signal, equation = _flair(t1, t2, pd, rng)
            if rng.random() < settings.flair_flow:
                white = signal[Structure.WHITE_MATTER]
                signal[[Structure.FOURTH_VENTRICLE, Structure.THIRD_VENTRICLE]] += white * rng.uniform(0, 0.9)
        elif sequence is Sequence.T1W:
            signal, equation = _t1w(t1, t2, pd, rng)
        elif sequence is Sequence.T2W:
            signal, equation = _t2w(t1, t2, pd, rng)
        else:
            signal, equation = _swi(t1, t2_star, pd, rng)
        power = rng.uniform(*settings.contrast_power[sequence])
        powers = np.full(TISSUE_COUNT, power)
        powers[FLUIDS] = rng.uniform(*settings.fluid_power[sequence])
        within = [*BRAIN_CODES, Structure.CSF]
        signal[within] = signal[Structure.WHITE_MATTER] * (signal[within] / signal[Structure.WHITE_MATTER]) ** powers[within]
    outside = np.setdiff1d(np.arange(2, TISSUE_COUNT), BRAIN_CODES)
    signal[outside] *= np.exp(rng.normal(0, settings.outside_jitter, outside.size))
    if rng.random() < 0.5:
        signal[Tissue.FAT] *= rng.uniform(0.05, 0.6)
        signal[Tissue.MARROW] *= rng.uniform(0.2, 1.0)
    signal[Tissue.ARTERY] *= rng.choice([0.1, 1.0, 2.5], p=[0.5, 0.3, 0.2])
    signal[Structure.BACKGROUND] = 0.0
    white = max(float(signal[Structure.WHITE_MATTER]), 1e-3) if not free else float(signal[BRAIN_CODES].mean())
    return Contrast(sequence, np.asarray(signal / white, np.float32), equation)
