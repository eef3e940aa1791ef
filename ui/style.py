"""How the page looks: the system's own fonts, one accent colour, room to read."""

from typing import Any

import gradio as gr

_FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


def make_theme() -> Any:
    """Gradio's own theme with fonts that are on the machine already, for the page asks no other host."""
    theme = gr.themes.Default(primary_hue="indigo", neutral_hue="slate", radius_size="md", font=_FONT, font_mono=_MONO)
    return theme.set(
        body_background_fill="*neutral_50",
        body_text_color_subdued="*neutral_500",
        block_info_text_color="*neutral_500",
        block_border_width="1px",
        block_shadow="none",
        block_label_text_color="*neutral_600",
        block_title_text_weight="600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="white",
    )


CSS = """
.gradio-container > main, .gradio-container { width: 100%; max-width: 1100px !important; margin: 0 auto !important; }
.about h2 { margin: 0.5rem 0 0.25rem; }
.about p { color: var(--body-text-color-subdued); margin: 0 0 0.5rem; max-width: 44rem; }
.status { min-height: 1.5rem; }
.status p { color: var(--body-text-color-subdued); margin: 0 0 0.25rem; }
.status.error p { color: var(--error-text-color); }
.output-label p { color: var(--block-title-text-color); font-weight: var(--block-title-text-weight); }
.prose.output { padding-right: 2rem; }
.json-field textarea { font-family: var(--font-mono); }
.block.news {
  padding: var(--spacing-lg); border-radius: var(--radius-lg);
  background: var(--block-background-fill); border: 1px solid var(--border-color-accent);
}
"""
