"""How the page looks: one palette for light and one for dark, the same as the report's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

STYLE = Path(__file__).parent / "page.css"

LIGHT = {
    "primaryColor": "#14744a",
    "backgroundColor": "#faf9f5",
    "secondaryBackgroundColor": "#f2f1ea",
    "textColor": "#1b211d",
    "borderColor": "#e0e1d8",
    "linkColor": "#14744a",
    "codeBackgroundColor": "#f2f1ea",
    "codeTextColor": "#1b211d",
    "chartCategoricalColors": ["#14744a", "#2563c9", "#c2600a", "#a52f83", "#0d7d8c", "#8a6d00"],
    "chartSequentialColors": [
        "#f2f7f3", "#dcebe2", "#c2dccd", "#a4cab5", "#84b79b", "#62a480", "#439066", "#297c51",
        "#14683f", "#07502d",
    ],
}  # fmt: skip
DARK = {
    "primaryColor": "#4fbf8a",
    "backgroundColor": "#101412",
    "secondaryBackgroundColor": "#1a201d",
    "textColor": "#e4eae6",
    "borderColor": "#2d3631",
    "linkColor": "#5fd09a",
    "codeBackgroundColor": "#1a201d",
    "codeTextColor": "#e4eae6",
    "chartCategoricalColors": ["#5fd09a", "#7daaf8", "#f2a05a", "#e58ccb", "#5cc9d8", "#d9bd4f"],
    "chartSequentialColors": [
        "#16211b", "#1b3026", "#204032", "#26513f", "#2e644d", "#37785c", "#428d6c", "#4fa47e",
        "#65bb93", "#8ad6b0",
    ],
}  # fmt: skip
COMMON = {
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
    "headingFont": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
    "codeFont": "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace",
    "headingFontSizes": ["1.75rem", "1.3rem", "1.1rem", "1rem", "0.95rem", "0.9rem"],
    "headingFontWeights": [650, 620, 620, 600, 600, 600],
    "metricValueFontSize": "1.3rem",
    "metricValueFontWeight": 600,
    "baseRadius": "0.6rem",
    "showWidgetBorder": True,
    "showSidebarBorder": True,
}
LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 150 32" height="32">
<path d="M5 27 C4 12 12 4 25 4 C25 17 19 26 8 26 C11 19 15 14 20 10 C13 13 8 19 5 27 Z"
 fill="#2f9e6b"/><text x="33" y="23" font-family="system-ui, sans-serif" font-size="20"
 font-weight="650" letter-spacing="-0.5" fill="#2f9e6b">parrotlet</text></svg>"""


def options() -> dict[str, Any]:
    """The theme as Streamlit's options."""
    return {
        **{f"theme.{name}": value for name, value in COMMON.items()},
        **{f"theme.light.{name}": value for name, value in LIGHT.items()},
        **{f"theme.dark.{name}": value for name, value in DARK.items()},
    }


def style() -> str:
    """The little that the theme cannot say, as HTML."""
    return f"<style>{STYLE.read_text(encoding='utf-8')}</style>"
