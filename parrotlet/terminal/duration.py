"""Durations as a person reads them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Seconds in the two units that matter: 42s, 3m 05s, 2h 10m."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
