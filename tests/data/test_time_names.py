"""Times with names in other languages, and ranges of times."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from recurra.data.forecasting.forms import parse_time
from recurra.data.forecasting.series import series_of
from recurra.data.table import as_table
from recurra.errors import DataError

MARCH = {
    "en": "March 3, 2025",
    "de": "Montag, 3. März 2025",
    "de, short": "3. Mrz 2025",
    "fr": "lundi 3 mars 2025",
    "es": "3 de marzo de 2025",
    "it": "lunedì 3 marzo 2025",
    "pt": "3 de Março de 2025",
    "nl": "maandag 3 maart 2025",
    "nl, short": "3 mrt 2025",
    "pl": "3 marca 2025",
    "da": "3. marts 2025",
}


@pytest.mark.parametrize("name", MARCH)
def test_months_and_weekdays_in_other_languages(name) -> None:
    assert parse_time(MARCH[name]) == datetime(2025, 3, 3)
    assert parse_time(MARCH[name] + " 14:05") == datetime(2025, 3, 3, 14, 5)


def test_the_twelve_months_of_a_language() -> None:
    german = ["Jan", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"]
    french = ["janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."]
    for names in (german, french):
        assert [parse_time(f"{name} 2024").month for name in names] == list(range(1, 13))


@pytest.mark.parametrize("text", ["jui 2020", "3 mardi 2025", "foo 2020", "lis 3", "32. März 2025"])
def test_names_that_are_no_month_or_two_are_refused(text) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_time(text)


@pytest.mark.parametrize(
    "form", ["{0:%d.%m.%Y %H:%M} - {1:%d.%m.%Y %H:%M}", "{0:%d/%m/%Y %H:%M:%S} - {1:%d/%m/%Y %H:%M:%S}",
             "{0:%Y-%m-%d %H:%M} – {1:%H:%M}"]
)  # fmt: skip
def test_a_range_is_where_it_begins(form) -> None:
    hours = np.datetime64("2023-01-12T20:00") + np.arange(12) * np.timedelta64(1, "h")
    texts = [form.format(h.item(), (h + 60).item()) for h in hours]
    table = as_table({"MTU (CET)": np.array(texts, object), "y": np.arange(12.0)})
    (found,) = series_of(table, "y", time="MTU (CET)")
    np.testing.assert_array_equal(found.time, hours)


def test_an_offset_behind_a_time_is_no_range() -> None:
    assert parse_time("2024-01-01 05:00 -05:00").utcoffset().total_seconds() == -5 * 3600
    with pytest.raises(DataError, match="is no time"):
        series_of(as_table({"t": np.array(["32.13.2023 00:00 - 01:00"] * 2, object), "y": [1.0, 2.0]}), "y", time="t")
