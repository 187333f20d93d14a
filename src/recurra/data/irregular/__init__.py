"""Events at irregular times: what was measured, when; read, counted, and made rows of without looking ahead.

>>> events = {"stay": ["a", "a", "b"], "time": [0.0, 1.5, 0.2], "what": ["HR", "pH", "HR"], "value": [80.0, 7.4, 95.0]}
>>> found = read_events(events, series="stay", time="time", variable="what", value="value")
>>> found.variables, [len(x) for x in found.x]
(('HR', 'pH'), [2, 1])
"""

from recurra.data.irregular.reading import Histories, first_hours, read_events
from recurra.data.irregular.risk import risk_within
from recurra.data.irregular.rows import IrregularRows
from recurra.data.irregular.table import read_event_table

__all__ = ["Histories", "IrregularRows", "first_hours", "read_event_table", "read_events", "risk_within"]
