"""What demos have in common: what a trained model is worth, its file and its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console


def written(model: Any, place: Path, name: str, source: str, console: Console) -> Path:
    """Say how a model does, and write its file and `report.html`; returns the file."""
    from recurra.report import write_report
    from recurra.report.terminal import tell

    console.print(f"[bold]2[/]  Trained in {model.report_['seconds']['training']:.0f} s.")
    tell(console, model)
    file, page = place / f"{name}.recurra", place / "report.html"
    model.save(file)
    model.report_["model_file"], model.report_["data"]["source"] = file.name, source
    write_report(model.report_, page, model.model_)
    console.print(f"[bold]3[/]  Written: {file} ({file.stat().st_size / 1024:.0f} KiB) and {page}")
    return file
