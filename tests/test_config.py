"""Settings: defaults, TOML, ranges, refusals, digest."""

from pathlib import Path

import pytest

from smallvessel.config import MeasureSettings, PeriventricularRule, Settings, read_settings, settings_from_dict
from smallvessel.errors import InputError
from smallvessel.markers import Marker


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_the_documented_ones() -> None:
    settings = Settings()
    assert settings.markers == tuple(Marker)
    assert not settings.trust_header
    assert settings.measure.periventricular_rule is PeriventricularRule.CONTINUITY_3_10
    assert (settings.measure.rim_mm, settings.measure.reach_mm, settings.measure.outer_band_mm) == (3.0, 10.0, 13.0)


def test_toml_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    file = _write(
        tmp_path / "s.toml", 'markers = ["cmb", "WMH"]\nwrite_report = false\n[measure]\nperiventricular_rule = "touching"\nrim_mm = 2\n'
    )
    settings = read_settings(file)
    assert settings.markers == (Marker.WMH, Marker.CMB)
    assert not settings.write_report
    assert settings.write_probability
    assert settings.measure == MeasureSettings(PeriventricularRule.TOUCHING, rim_mm=2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "unknown settings colour"),
        ("[measure]\nrim = 1", "unknown settings measure.rim"),
        ("[measure]\nrim_mm = 0.1", "a number from 0.5 to 10"),
        ("[measure]\nrim_mm = true", "measure.rim_mm = True"),
        ("[measure]\nrim_mm = nan", "measure.rim_mm = nan"),
        ("[measure]\nreach_mm = 2", "a number from 3 to 30"),
        ("[measure]\nouter_band_mm = 31", "a number from 3 to 30"),
        ('[measure]\nperiventricular_rule = "voxels"', "one of continuity_3_10, voxelwise_10, bands_3_13, touching"),
        ("measure = 3", "under [measure]"),
        ("markers = []", "one or more of WMH, lacune, EPVS, CMB"),
        ('markers = "WMH"', "a list"),
        ('markers = ["tumour"]', "markers = 'tumour'"),
        ("markers = [1]", "markers = 1"),
        ("trust_header = 1", "true or false"),
        ("markers = [", "that are not TOML"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read_settings(_write(tmp_path / "s.toml", text))
    assert message in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        read_settings(tmp_path / "none.toml")


def test_plain_values_make_the_same_settings_again() -> None:
    settings = Settings(markers=(Marker.EPVS,), trust_header=True, measure=MeasureSettings(PeriventricularRule.BANDS_3_13, 2.5, 9.0, 12.0))
    assert settings_from_dict(settings.as_dict()) == settings
    assert settings_from_dict(settings.as_dict()).digest() == settings.digest()


def test_digest_depends_on_values_and_not_on_how_they_were_written() -> None:
    assert Settings(markers=(Marker.CMB, Marker.WMH)).digest() == Settings(markers=(Marker.WMH, Marker.CMB)).digest()
    assert Settings(measure=MeasureSettings(rim_mm=3)).digest() == Settings().digest()
    changed = [
        Settings(markers=(Marker.WMH,)),
        Settings(trust_header=True),
        Settings(write_probability=False),
        Settings(measure=MeasureSettings(reach_mm=11)),
        Settings(measure=MeasureSettings(outer_band_mm=14)),
    ]
    assert len({settings.digest() for settings in [Settings(), *changed]}) == 6
    assert Settings(write_report=False).digest() == Settings(write_pdf=True).digest() == Settings().digest()
