"""How the page looks: the system's own fonts, one accent colour, room to read."""

from typing import Any

import gradio as gr

_FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


def make_theme() -> Any:
    """Gradio's Soft theme with fonts that are on the machine already, for a page must ask no other host."""
    return gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="md",
        font=_FONT,
        font_mono=_MONO,
    )


CSS = """
.gradio-container { max-width: 1080px !important; margin: 0 auto !important; }
.about h2 { margin-bottom: 0.25rem; }
.about p { color: var(--body-text-color-subdued); margin-top: 0; }
.status { min-height: 1.5rem; color: var(--body-text-color-subdued); }
.status.error { color: var(--error-text-color); }
.json-field textarea { font-family: var(--font-mono); }
.router-state {
  padding: var(--spacing-md) var(--spacing-lg); border-radius: var(--radius-md);
  background: var(--background-fill-secondary); border: 1px solid var(--border-color-primary);
}
footer { display: none !important; }
"""
