"""`Terminal`: Rich's console for text that a file may have brought."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from recurra.formatting import printable


class Terminal(Console):
    """A console that shows control characters of what is printed, in place of obeying them."""

    def render_str(self, text: str, **options: Any) -> Text:
        """As Rich's, which all text on its way passes."""
        return super().render_str(printable(text), **options)
