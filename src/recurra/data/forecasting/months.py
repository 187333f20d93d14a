"""Names of months and weekdays in the languages in which tables are mostly written."""

from __future__ import annotations

import unicodedata
from collections import defaultdict

_NAMES = (
    "january february march april may june july august september october november december",
    "januar februar marz april mai juni juli august september oktober november dezember",
    "janner feber maerz april mai juni juli august september oktober november dezember",
    "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "janeiro fevereiro marco abril maio junho julho agosto setembro outubro novembro dezembro",
    "januari februari maart april mei juni juli augustus september oktober november december",
    "januari februari mars april maj juni juli augusti september oktober november december",
    "januar februar marts april maj juni juli august september oktober november december",
    "januar februar mars april mai juni juli august september oktober november desember",
    "styczen luty marzec kwiecien maj czerwiec lipiec sierpien wrzesien pazdziernik listopad grudzien",
    "stycznia lutego marca kwietnia maja czerwca lipca sierpnia wrzesnia pazdziernika listopada grudnia",
)
_SHORT = {"mrz": 3, "mrt": 3}  # abbreviations that are no beginnings
_DAYS = (
    "monday tuesday wednesday thursday friday saturday sunday "
    "montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag "
    "lundi mardi mercredi jeudi vendredi samedi dimanche "
    "lunes martes miercoles jueves viernes sabado domingo "
    "lunedi martedi mercoledi giovedi venerdi domenica "
    "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag"
)


def folded(text: str) -> str:
    """Letters without their accents, in lower case.

    >>> folded("1. März"), folded("AOÛT")
    ('1. marz', 'aout')
    """
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def _beginnings() -> dict[str, int]:
    """Each name, and each beginning of three letters or more that belongs to one month in all languages."""
    found = defaultdict[str, set[int]](set)
    for names in _NAMES:
        for month, name in enumerate(names.split(), 1):
            for size in range(3, len(name) + 1):
                found[name[:size]].add(month)
    return {name: next(iter(months)) for name, months in found.items() if len(months) == 1} | _SHORT


_MONTHS = _beginnings()
_WEEKDAYS = {name[:size] for name in _DAYS.split() for size in range(3, len(name) + 1)} - set(_MONTHS)


def month_of(name: str) -> int:
    """The number of a month by its name, or by a beginning of it.

    Raises:
        ValueError: it is none, or that of several.

    >>> [month_of(name) for name in ("Sept", "Mai", "mrz", "août", "grudnia", "juil")]
    [9, 5, 3, 8, 12, 7]
    """
    found = _MONTHS.get(folded(name))
    if found is None:
        raise ValueError(name)
    return found


def is_weekday(word: str) -> bool:
    """Whether a word names a day of the week, and no month.

    >>> is_weekday("Donnerstag"), is_weekday("mar"), is_weekday("Mi")
    (True, False, False)
    """
    return folded(word) in _WEEKDAYS
