"""Tables of text: a quote never eats rows, and what is no number is none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from smallvessel.errors import InputError
from smallvessel.participants import Traits, read_lines, read_participants, to_number


def test_a_stray_quote_in_a_tsv_is_a_letter(tmp_path: Path) -> None:
    """It once made one cell of all that follows, and gave its participant the age and sex of the cells after it."""
    table = tmp_path / "participants.tsv"
    table.write_text('participant_id\tcomment\tage\tsex\nsub-01\t"moved\t60\tF\nsub-02\t5 mm"\t70\tM\nsub-03\t"whole"\t80\tF\n')
    assert read_participants(table) == {"01": Traits(60.0, False), "02": Traits(70.0, True), "03": Traits(80.0, False)}
    assert [line for line, _ in read_lines(table, "a table")] == [1, 2, 3, 4]


def test_a_quote_in_a_csv_holds_its_cell_together(tmp_path: Path) -> None:
    table = tmp_path / "participants.CSV"
    table.write_text('participant_id,comment,age\nsub-01,"left, right",60\nsub-02,5 mm",70\n')
    assert read_participants(table) == {"01": Traits(60.0), "02": Traits(70.0)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('participant_id,age,comment\nsub-01,60,"moved\nsub-02,70,5 mm"\n', "goes on from line 2 to line 3"),
        ('participant_id,age,comment\nsub-01,60,"moved\nsub-02,70,fine\n', "line 3 of .*unexpected end of data.*quotes"),
        ('participant_id,age,comment\nsub-01,60,"moved" twice\n', "line 2 of .*quotes"),
        ("participant_id,age,comment\nsub-01,60," + "x" * 200_000 + "\n", "line 2 of .*field larger"),
    ],
)
def test_a_quote_that_is_not_closed_in_a_csv_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "participants.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_participants(tmp_path / "participants.csv")


def test_a_long_cell_of_a_tsv_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text("participant_id\tcomment\nsub-01\t" + "x" * 200_000 + "\n")
    with pytest.raises(InputError, match="field larger"):
        read_participants(tmp_path / "participants.tsv")


def test_an_empty_table_names_nobody(tmp_path: Path) -> None:
    for text in ("", "participant_id\tage\n"):
        (tmp_path / "participants.tsv").write_text(text)
        assert read_participants(tmp_path / "participants.tsv") == {}
    (tmp_path / "participants.tsv").write_text("subject\tage\n01\t60\n")
    with pytest.raises(InputError, match="without the column participant_id"):
        read_participants(tmp_path / "participants.tsv")


@pytest.mark.parametrize(("text", "value"), [("12", 12.0), ("1e3", 1000.0), ("1_2", math.nan), ("１２", math.nan), ("much", math.nan)])
def test_what_is_no_number_is_none(text: str, value: float, tmp_path: Path) -> None:
    assert to_number(text) == pytest.approx(value, nan_ok=True)
    if math.isnan(value):
        (tmp_path / "participants.tsv").write_text(f"participant_id\tage\nsub-01\t{text}\n", encoding="utf-8")
        with pytest.raises(InputError, match=r"age = .* in line 2"):
            read_participants(tmp_path / "participants.tsv")
