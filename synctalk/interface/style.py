"""How the app looks: one accent colour, the system's own fonts, nothing fetched from elsewhere."""

import html

import gradio as gr

ACCENT = gr.themes.Color(
    name="teal",
    c50="#effcfa",
    c100="#d3f6f0",
    c200="#a7ece3",
    c300="#6fdacf",
    c400="#37bfb4",
    c500="#149f96",
    c600="#0e807b",
    c700="#0f6663",
    c800="#115150",
    c900="#124443",
    c950="#042828",
)
FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")

CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; padding: 6px 20px !important;
  overflow: clip !important; }
.gradio-container > .main { padding: 8px 0 !important; }
footer { display: none !important; }
#title .html-container { padding: 0; }
#title h1 { font-size: 1.35rem; font-weight: 650; margin: 0; letter-spacing: -0.01em; }
#title p { margin: 0; color: var(--body-text-color-subdued); font-size: .92rem; }
#columns { gap: 24px; align-items: flex-start; }
#stage { position: sticky; top: 10px; }
#avatars .grid-wrap { min-height: 0; max-height: none; padding: 3px; overflow: visible; }
#avatars .grid-container { grid-template-columns: repeat(auto-fill, minmax(92px, 1fr)) !important; }
#avatars .thumbnail-item { border-radius: 10px; }
#avatars .thumbnail-item.selected, #avatars .thumbnail-item:focus-visible {
  box-shadow: 0 0 0 3px var(--primary-500); border-color: transparent; }
#avatars .caption-label { font-size: .82rem; }
#still, #live, #film { border-radius: 12px; overflow: hidden; }
#still img, #live video, #film video { object-fit: contain; }
#still, #live, #film, #still img, #live video, #film video {
  background: color-mix(in srgb, var(--body-text-color) 8%, var(--body-background-fill)); }
.status-line { display: flex; justify-content: space-between; gap: 12px; font-size: .88rem;
  color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
.status-bar { height: 5px; border-radius: 3px; background: var(--border-color-primary); overflow: hidden;
  margin-top: 6px; }
.status-bar div { height: 100%; background: var(--primary-500); transition: width .2s linear; }
.group-name p { font-size: .8rem; font-weight: 600; margin: 6px 0 0; color: var(--body-text-color-subdued); }
#note p { font-size: .82rem; color: var(--body-text-color-subdued); }
#downloads { gap: 8px; }
#downloads:not(:has(button:not(:disabled), a)) { display: none; }
#listen, #reset { align-self: center; }
.examples button { font-size: .82rem; }
.pairs > .form { display: grid; grid-template-columns: 1fr 1fr; }
.pairs > .form > * { min-width: 0 !important; }
.pairs > .form > :last-child:nth-child(odd) { grid-column: span 2; }
#voice input { text-overflow: ellipsis; }
#voice .secondary-wrap { padding-right: 1.2rem; }
@media (max-width: 767px) {
  .gradio-container { padding: 4px 10px !important; }
  #columns { gap: 10px; }
  #stage { order: -1; top: 0; z-index: 60; background: var(--body-background-fill); padding-bottom: 6px;
    gap: 6px; }
  #still, #live, #film { height: 52vw !important; min-height: 180px; max-height: 40vh; }
  #still img, #live video, #film video { height: 100% !important; }
  #title p { display: none; }
  .pairs .tab-like-container { display: none; }
}
"""


def theme() -> gr.themes.Base:
    """Plain surfaces, small radii, the accent only where something can be done."""
    return gr.themes.Base(
        primary_hue=ACCENT,
        secondary_hue=ACCENT,
        neutral_hue="zinc",
        font=FONT,
        font_mono=MONO,
        spacing_size="sm",
        radius_size="md",
    ).set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_text_color="white",
        slider_color="*primary_500",
        block_label_text_weight="500",
        block_title_text_weight="500",
        block_shadow="none",
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        button_large_text_weight="560",
        button_secondary_background_fill="*neutral_50",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_border_color="*neutral_300",
        button_border_width="1px",
    )


def status(step: str = "", share: float = 0.0, seconds_left: float | None = None) -> str:
    """The progress line: what is being done, how far it is, how long it will take."""
    if not step:
        return ""
    left = "" if seconds_left is None or share >= 1 else f"about {max(1, round(seconds_left))} s left"
    width = round(100 * min(1.0, max(0.02, share)))
    return (
        f'<div class="status-line"><span>{html.escape(step)}</span><span>{left}</span></div>'
        f'<div class="status-bar" role="progressbar" aria-valuenow="{width}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-label="Progress"><div style="width:{width}%"></div></div>'
    )


def hex_colour(value: str) -> str:
    """A colour picker's value, '#rrggbb' or 'rgba(r, g, b, a)', as '#rrggbb'."""
    if value.startswith("#"):
        return value[:7]
    numbers = [float(n) for n in value[value.index("(") + 1 : value.index(")")].split(",")[:3]]
    return "#" + "".join(f"{min(255, max(0, round(n))):02x}" for n in numbers)
