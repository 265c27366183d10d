"""A review as the report's page saves it: a small JSON file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..markers import Marker
from ..records import SessionId
from ..restore import parse_session

FORMAT = "smallvessel review 1"
VERDICTS = ("right", "wrong", "relabel", "unsure")


@dataclass(frozen=True)
class Decision:
    """What a person said about one lesion; ``becomes`` is the marker it is instead, when it is relabelled."""

    marker: Marker
    label: int
    verdict: str
    becomes: Marker | None
    note: str


@dataclass(frozen=True)
class ReviewFile:
    """A review as the report's page saves it.

    Attributes
    ----------
    lesions_sha256 : str
        Of the table of lesions on which it was made.
    digest : str or None
        Of the run that measured them; None in a review from a page of an earlier version.
    earlier : tuple of str
        The sources of the reviews that the page had seen already.
    name, sha256 : str
        Of the file.
    """

    id: SessionId
    lesions_sha256: str
    digest: str | None
    earlier: tuple[str, ...]
    reviewer: str
    saved_at: str
    note: str
    decisions: tuple[Decision, ...]
    name: str
    sha256: str

    @property
    def source(self) -> str:
        """The file, as the session's record names it."""
        return describe_source(self.name, self.sha256)


def describe_source(name: str, sha256: str) -> str:
    """A review's or a mask's file, as the session's record names it."""
    return f"{name}, SHA-256 {sha256}"


def one_line(name: str) -> str:
    """A person's name with single spaces: it stands in a table."""
    return " ".join(name.split())


def read_review(path: Path) -> ReviewFile:
    """Read a review.

    Raises
    ------
    InputError
        When the file cannot be read, or something in it is not as the report's page writes it.
    """
    try:
        text = path.read_bytes()
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"its format is {content.get('format') if isinstance(content, dict) else content!r}")
        decisions = tuple(_read_decision(entry) for entry in content["decisions"])
        reviewer = one_line(_text(content, "reviewer"))
        named = [(decision.marker, decision.label) for decision in decisions]
        if not reviewer or len(set(named)) < len(named):
            raise ValueError("it names no reviewer" if not reviewer else "it names a lesion twice")
        return ReviewFile(
            id=parse_session(_text(content, "session")),
            lesions_sha256=_text(content, "lesions_sha256"),
            digest=_text(content, "digest") if "digest" in content else None,
            earlier=tuple(map(str, content.get("earlier_reviews", ()))),
            reviewer=reviewer,
            saved_at=str(content["saved_at"]),
            note=str(content.get("note", "")),
            decisions=decisions,
            name=path.name,
            sha256=hashlib.sha256(text).hexdigest(),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"a review that cannot be used, {path} ({reason})", f"JSON of the format {FORMAT}", "save it again in the report"
        ) from None


def _read_decision(entry: Mapping[str, Any]) -> Decision:
    verdict, label = entry["verdict"], entry["label"]
    if verdict not in VERDICTS:
        raise ValueError(f"the verdict {verdict!r} is none of {', '.join(VERDICTS)}")
    if type(label) is not int or label < 1:
        raise ValueError(f"the label {label!r} is not a whole number from 1 up")
    becomes = Marker(entry["as"]) if verdict == "relabel" else None
    return Decision(Marker(entry["marker"]), label, verdict, becomes, str(entry.get("note", "")))


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content[name]
    if not isinstance(value, str):
        raise ValueError(f"its {name} is {value!r}, not a text")
    return value
