"""Every record that crosses from one room to the next: the data flow on one page.

BIDS or files ──intake──▶ Session ──prepare──▶ Prepared ──segment──▶ Segmentation ──measure──▶ Measurements
──▶ SessionResult ──▶ derivatives · report
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .errors import InputError
from .expected import ExpectedErrors
from .markers import Marker, Sequence
from .participants import UNKNOWN, Traits
from .scales import Scale
from .volume import Grid, LabelMap, Mask, Transform, Volume

NO_REFERENCE = "no reference cohort was given: make one of your own with smallvessel reference fit, then run with --reference"

LABEL = r"[A-Za-z0-9+](?:[A-Za-z0-9.+-]*[A-Za-z0-9+])?"
"""Of a participant or a session. BIDS has letters, digits and +; folders of studies also have . and - inside, which do no harm.
A label never has _, which ends it in a file's name."""

Status = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class NotAssessed:
    """Something that could not be measured, and why. Never a silent 0. ``possible``: the range of a score that is known in part."""

    reason: str
    possible: tuple[int, int] | None = None


@dataclass(frozen=True, order=True)
class SessionId:
    """BIDS identity of a session. ``subject`` and ``session`` carry no prefix."""

    subject: str
    session: str | None = None

    def __str__(self) -> str:
        return f"sub-{self.subject}" + (f"_ses-{self.session}" if self.session else "")


@dataclass(frozen=True)
class SessionSource:
    """The files that were chosen for one session, not yet opened. ``log`` says by which rule, and what was left out.

    ``refusal`` is why the session fails, where that is known already.
    """

    id: SessionId
    files: Mapping[Sequence, Path]
    log: tuple[str, ...] = ()
    traits: Traits = UNKNOWN
    refusal: InputError | None = None


@dataclass(frozen=True)
class ImageFile:
    """One file on disk that was accepted as an image of a sequence.

    ``note`` says what was done to accept it (a rule that chose it among runs, a squeezed axis, a trusted header).
    """

    path: Path
    sequence: Sequence
    volume: Volume
    sha256: str
    note: str = ""


@dataclass(frozen=True)
class Session:
    """The accepted images of one MRI session. ``log`` are sentences for the session's log."""

    id: SessionId
    images: Mapping[Sequence, ImageFile]
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """One quality check: what was measured, against which limit, and what follows.

    ``value`` is None when it could not be computed; ``limit`` is a sentence such as "warn above 0.8 mm, fail above 2 mm".
    """

    name: str
    value: float | None
    unit: str
    limit: str
    status: Status
    message: str


@dataclass(frozen=True)
class Anatomy:
    """What the anatomy network found, on the analysis grid.

    Attributes
    ----------
    structures : LabelMap
        Values of :class:`smallvessel.structures.Structure`.
    right : Mask
        Right hemisphere (world +x side of the brain's own midline); meaningful inside the brain.
    brain : Mask
        Brain with ventricles and the CSF of the sulci, without extracerebral CSF.
    intracranial : Mask
        Everything inside the skull: brain and CSF.
    lobes : LabelMap
        0 none, then the codes in ``lobes.names`` ("frontal", "parietal", "temporal", "occipital", "insula"); side comes from ``right``.
    mni_from_reference : Transform
        Affine map of world points from the reference image to MNI152 space.
    """

    structures: LabelMap
    right: Mask
    brain: Mask
    intracranial: Mask
    lobes: LabelMap
    mni_from_reference: Transform


@dataclass(frozen=True)
class Native:
    """A sequence on its own grid: what is needed to bring results back to it."""

    grid: Grid
    brain: Mask
    reference_from_native: Transform


@dataclass(frozen=True)
class Prepared:
    """A session brought onto the 1 mm analysis grid (axes parallel to the reference image, RAS+ order, cropped to the brain).

    Attributes
    ----------
    images : mapping of Sequence to Volume
        Bias-corrected, registered, interpolated once; intensities as acquired, not normalised.
    native : mapping of Sequence to Native
    brain_extracted : bool
        Whether the input came without a skull.
    """

    id: SessionId
    reference: Sequence
    grid: Grid
    images: Mapping[Sequence, Volume]
    native: Mapping[Sequence, Native]
    anatomy: Anatomy
    brain_extracted: bool
    checks: tuple[Check, ...]
    steps: tuple[str, ...] = ()
    """Sentences in the past tense, in order: the methods paragraph is made of them."""


@dataclass(frozen=True)
class MarkerMap:
    """One marker's segmentation.

    Attributes
    ----------
    probability : Volume
        On the analysis grid, calibrated, 0 to 1.
    labels : LabelMap
        On the analysis grid: 0 background, 1..n the lesions (26-connected), after thresholds and plausibility rules.
    confidence : tuple of float
        Per lesion, label order: its calibrated probability of being a lesion, 0 to 1.
    native_sequence : Sequence
        The sequence on which the marker is rated.
    native_mask, native_probability
        The same result on that sequence's own grid.
    errors : ExpectedErrors, optional
        None where the network's card does not say.
    """

    marker: Marker
    probability: Volume
    labels: LabelMap
    confidence: tuple[float, ...]
    native_sequence: Sequence
    native_mask: Mask
    native_probability: Volume
    errors: ExpectedErrors | None = None

    @property
    def mask(self) -> Mask:
        return Mask(self.labels.data > 0, self.labels.grid)


@dataclass(frozen=True)
class Segmentation:
    """All four markers, each a map or the reason why not."""

    markers: Mapping[Marker, MarkerMap | NotAssessed]
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lesion:
    """One lesion: a row of ``lesions.tsv``.

    ``region`` is marker specific (see measure/regions.py); ``mars_region`` only for CMB and lacunes, else None;
    ``side`` is "left", "right" or "midline"; the centroid is in the reference image's world, RAS mm; ``chance`` is how often lesions
    of this confidence and volume were ones on validation sessions, None where that is not known.
    """

    marker: Marker
    label: int
    volume_mm3: float
    diameter_mm: float
    centroid_mm: tuple[float, float, float]
    region: str
    mars_region: str | None
    side: str
    confidence: float
    chance: float | None = None


@dataclass(frozen=True)
class MarkerMeasures:
    """Volume and count of one marker, total and per region (every region of the marker is present, also with 0).

    Both sum to the totals. Confluent WMH have a count of their own, while their volume is divided between the regions they span.
    """

    marker: Marker
    volume_ml: float
    count: int
    region_volume_ml: Mapping[str, float]
    region_count: Mapping[str, int]
    details: Mapping[str, float | int] = field(default_factory=dict)
    """By column, see :data:`smallvessel.scales.DETAILS`."""
    volume_range_ml: tuple[float, float] | None = None
    count_range: tuple[int, int] | None = None
    """95 % intervals of the true volume and number, see :mod:`smallvessel.measure.uncertainty`; None where not known."""


@dataclass(frozen=True)
class Score:
    """A visual or burden score.

    Attributes
    ----------
    value : int
    evidence : str
        What decided it.
    next_grade : str
        What the next grade or point would take.
    to_next : float or None
        How much more that is, in the unit of the scale's limits; None at the highest grade, for sums, and where any lesion is enough.
    lesions : tuple of int
        Labels of the lesions that decided it, of the first marker that the scale needs; empty for sums, whose parts have theirs.
    chances : mapping of int to float
        Probability of every grade given the uncertainty of the count; empty where that is not known.
    """

    value: int
    evidence: str
    next_grade: str
    chances: Mapping[int, float] = field(default_factory=dict)
    to_next: float | None = None
    lesions: tuple[int, ...] = ()


@dataclass(frozen=True)
class Burden:
    """Z scores against a reference cohort: per marker by name, and "total".

    Attributes
    ----------
    reference : str
        The cohort's name.
    volume, count : mapping of str to float or NotAssessed
    """

    reference: str
    volume: Mapping[str, float | NotAssessed]
    count: Mapping[str, float | NotAssessed]


@dataclass(frozen=True)
class Measurements:
    """Everything that is measured on one session."""

    icv_ml: float | NotAssessed
    brain_ml: float
    structure_ml: Mapping[str, float]
    markers: Mapping[Marker, MarkerMeasures | NotAssessed]
    lesions: tuple[Lesion, ...]
    scores: Mapping[Scale, Score | NotAssessed] = field(default_factory=dict)
    burden: Burden | NotAssessed = NotAssessed(NO_REFERENCE)


@dataclass(frozen=True)
class Provenance:
    """How a result was made.

    Attributes
    ----------
    digest : str
        Identifies inputs, settings, weights and version: the same digest means the same result.
    inputs, sources : mapping of str to str
        Sequence to the SHA-256 of its file, and to the file itself (a BIDS URI, or its name).
    models, packages : mapping of str to str
        Network to its version and SHA-256; package to its version.
    timings_s : mapping of str to float
        Per stage, in the order of the stages.
    """

    version: str
    digest: str
    inputs: Mapping[str, str]
    models: Mapping[str, str]
    settings: Mapping[str, object]
    packages: Mapping[str, str]
    timings_s: Mapping[str, float]
    peak_memory_mb: float
    methods: str
    log: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    traits: Traits = UNKNOWN


@dataclass(frozen=True)
class Review:
    """What a person changed in a session's lesions, who and when.

    Attributes
    ----------
    reviewer : str
    saved_at, applied_at : str
        ISO 8601; when the review was saved, and when it was applied.
    source : str
        Name and SHA-256 of the review or of the corrected mask.
    changes : tuple of str
        Sentences.
    """

    reviewer: str
    saved_at: str
    applied_at: str
    source: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class SessionResult:
    """Everything known about one session after a run and, perhaps, after reviews by people."""

    id: SessionId
    prepared: Prepared
    segmentation: Segmentation
    measurements: Measurements
    provenance: Provenance
    reviews: tuple[Review, ...] = ()


@dataclass(frozen=True)
class SessionFailure:
    """A session that could not be completed, and the message the user sees."""

    id: SessionId
    stage: str
    message: str


@dataclass(frozen=True)
class RunSummary:
    """What one ``smallvessel run`` did."""

    completed: tuple[SessionId, ...] = ()
    skipped: tuple[SessionId, ...] = ()
    failed: tuple[SessionFailure, ...] = field(default=())
