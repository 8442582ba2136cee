"""The widgets, in groups. Each function draws one group where it is called and hands its widgets back."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from synctalk.editing import ASPECTS, Look
from synctalk.interface import style
from synctalk.interface.jobs import MAX_AUDIO_S, MAX_TEXT
from synctalk.interface.studio import Card
from synctalk.speaking.expression import EMOTIONS, HEAD_MOTIONS, PRESETS, Expression

# Every slider goes from 0, the natural movement, to 1, the avatar's own strongest. Two stand side by side.
SLIDERS = {
    "Brows": {
        "brow_outer_up_left": "Left brow up",
        "brow_outer_up_right": "Right brow up",
        "brow_down_left": "Left brow down",
        "brow_down_right": "Right brow down",
        "brow_inner_up": "Inner brows up",
    },
    "Eyes and mouth": {
        "eye_blink_left": "Left lid down",
        "eye_blink_right": "Right lid down",
        "smile": "Smile",
    },
}
NAMES = [name for group in SLIDERS.values() for name in group]
USUAL_BLINKS = 15
SOURCE_NAMES = {"voice": "Made to fit the voice", "footage": "As filmed"}
BACKGROUNDS = ("Original", "Colour", "Picture", "Transparent")


@dataclass(frozen=True)
class Voice:
    """What is said: text and a voice, or a recording."""

    kind: Any
    text: Any
    voice: Any
    hear: Any
    sample: Any
    audio: Any
    tabs: Any
    text_tab: Any
    audio_tab: Any


@dataclass(frozen=True)
class Face:
    """Expression widgets; `values` are in the order of `read_expression`."""

    preset: Any
    reset: Any
    sliders: list[Any]
    choices: list[Any]

    @property
    def values(self) -> list[Any]:
        """The widgets that make up the expression."""
        return [*self.sliders, *self.choices]


@dataclass(frozen=True)
class Frame:
    """Shape, background and marks; `values` are in the order of `read_look`."""

    values: list[Any]
    background: Any
    colour: Any
    picture: Any
    seed: Any

    @property
    def changes(self) -> list[Any]:
        """What a visitor does here that shows in the still."""
        aspect, _, colour, picture, _, mark = self.values
        return [aspect.input, self.background.input, colour.input, picture.change, mark.input]


@dataclass(frozen=True)
class Stage:
    """Where the avatar is seen, and what can be taken away."""

    tabs: Any
    still: Any
    live: Any
    film: Any
    status: Any
    saves: list[Any]


def avatar_gallery(cards: list[Card]) -> Any:
    """One picture per avatar."""
    return gr.Gallery(
        [(str(card.picture), card.name.capitalize()) for card in cards],
        elem_id="avatars",
        show_label=False,
        columns=4,
        fit_columns=False,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        selected_index=0,
        buttons=[],
        interactive=False,
        container=False,
    )


def voice_panel(voices: list[tuple[str, str]], chosen: str) -> Voice:
    """Tabs for text and for a recording; `voices` are (label, name), `chosen` is a name."""
    kind = gr.Textbox("text", visible=False, label="Kind")
    with gr.Tabs(selected="text") as tabs:
        with gr.Tab("Text", id="text") as text_tab:
            text = gr.Textbox(
                label="What should be said?",
                placeholder="Hello, and welcome.",
                lines=4,
                max_lines=8,
                max_length=MAX_TEXT,
                elem_id="text",
            )
            with gr.Row():
                voice = gr.Dropdown(
                    voices, value=chosen, label="Voice", scale=3, min_width=160, elem_id="voice"
                )
                hear = gr.Button("Listen", scale=1, min_width=80, elem_id="listen")
            sample = gr.Audio(
                visible=False,
                autoplay=True,
                show_label=False,
                interactive=False,
                buttons=[],
                elem_id="sample",
            )
        with gr.Tab("Audio", id="audio") as audio_tab:
            audio = gr.Audio(
                label=f"A recording, up to {MAX_AUDIO_S // 60} minutes",
                sources=["upload", "microphone"],
                type="filepath",
                elem_id="audio",
            )
    return Voice(kind, text, voice, hear, sample, audio, tabs, text_tab, audio_tab)


def example_row(labels: list[str], ready: bool) -> Any:
    """Examples to click; `ready` ones play at once, the others are rendered first."""
    return gr.Dataset(
        label="Watch one" if ready else "Try one",
        components=[gr.Textbox(visible=False, label="Example")],
        samples=[[label] for label in labels],
        sample_labels=labels,
        type="index",
        elem_id="ready-examples" if ready else "examples",
        elem_classes="examples",
        visible=bool(labels),
    )


def expression_panel() -> Face:
    """Presets, emotion and the sliders."""
    with gr.Accordion("Expression", open=False, elem_id="expression"):
        with gr.Row():
            preset = gr.Dropdown(list(PRESETS), value="Natural", label="Preset", elem_id="preset", scale=3)
            reset = gr.Button("Reset", scale=1, min_width=90, elem_id="reset")
        with gr.Row():
            emotion = gr.Dropdown([e.capitalize() for e in EMOTIONS], value="Natural", label="Emotion")
            strength = gr.Slider(0, 1, 0.7, step=0.05, label="Strength", buttons=[])
        sliders = []
        for title, group in SLIDERS.items():
            gr.Markdown(title, elem_classes="group-name")
            with gr.Row(elem_classes="pairs"):
                for name, label in group.items():
                    sliders.append(gr.Slider(0, 1, 0, step=0.05, label=label, elem_id=name, buttons=[]))
        gr.Markdown("Movement", elem_classes="group-name")
        head = gr.Radio(
            [h.capitalize() for h in HEAD_MOTIONS],
            value="Natural",
            label="Head motion",
            elem_id="head-motion",
        )
        source = gr.Radio(
            [(label, name) for name, label in SOURCE_NAMES.items()],
            value="voice",
            label="Brows, smile and blinks",
            elem_id="source",
        )
        intensity = gr.Slider(0, 2, 1, step=0.1, label="Intensity", buttons=[])
        own_rate = gr.Checkbox(False, label="Choose how often the eyes blink", elem_id="own-rate")
        blinks = gr.Slider(
            0, 60, USUAL_BLINKS, step=1, label="Blinks a minute", visible=False, buttons=[], elem_id="blinks"
        )
        own_rate.change(
            lambda on: gr.Slider(visible=on), own_rate, blinks, queue=False, api_visibility="private"
        )
    return Face(preset, reset, sliders, [emotion, strength, intensity, own_rate, blinks, head, source])


def picture_panel() -> Frame:
    """Shape, background, captions, mark, seed."""
    with gr.Accordion("Picture", open=False, elem_id="picture"):
        shapes = [("As filmed" if a == "source" else a, a) for a in ASPECTS]
        aspect = gr.Radio(shapes, value="source", label="Shape")
        background = gr.Radio(list(BACKGROUNDS), value=BACKGROUNDS[0], label="Background")
        colour = gr.ColorPicker("#1f4e8c", label="Background colour", visible=False)
        picture = gr.Image(label="Background picture", type="filepath", visible=False, height=160)
        captions = gr.Checkbox(False, label="Write the words into the picture")
        mark = gr.Checkbox(False, label="Write 'AI generated' into the picture")
        seed = gr.Number(0, label="Seed (same seed, same video)", precision=0, minimum=0)
    return Frame([aspect, background, colour, picture, captions, mark], background, colour, picture, seed)


def stage_panel(height: int = 440) -> Stage:
    """Still preview and video, the progress line, the downloads."""
    plain: dict[str, Any] = {"show_label": False, "height": height, "interactive": False, "buttons": []}
    with gr.Tabs(selected="still") as tabs:
        with gr.Tab("Preview", id="still"):
            still = gr.Image(
                elem_id="still", format="jpeg", alt_text="The avatar with this expression", **plain
            )
        with gr.Tab("Video", id="film"):
            live = gr.Video(elem_id="live", streaming=True, autoplay=True, **plain)
            film = gr.Video(elem_id="film", visible="hidden", **plain)
    status = gr.HTML(style.status(), elem_id="status")
    with gr.Row(elem_id="downloads"):
        saves = [
            gr.DownloadButton(
                label, size="sm", interactive=False, min_width=90, elem_id=f"save-{label.split()[0].lower()}"
            )
            for label in ("MP4", "SRT captions", "WAV sound")
        ]
    return Stage(tabs, still, live, film, status, saves)


def read_expression(values: list[Any]) -> Expression:
    """The expression the widgets `Face.values` show.

    Raises:
        SyncTalkError: a value out of range.
    """
    *sliders, emotion, strength, intensity, own_rate, blinks, head, source = values
    settings: dict[str, Any] = dict(zip(NAMES, sliders, strict=True))
    return Expression(
        **settings,
        emotion=emotion.lower(),
        strength=strength,
        intensity=intensity,
        blinks_per_minute=blinks if own_rate else None,
        head_motion=head.lower(),
        source=source,
    )


def show_expression(expression: Expression) -> list[Any]:
    """Values for the widgets `Face.values`."""
    blinks = expression.blinks_per_minute
    return [
        *(getattr(expression, name) for name in NAMES),
        expression.emotion.capitalize(),
        expression.strength,
        expression.intensity,
        blinks is not None,
        USUAL_BLINKS if blinks is None else blinks,
        expression.head_motion.capitalize(),
        expression.source,
    ]


def read_look(values: list[Any], with_words: bool, unfinished: bool = False) -> Look:
    """The look the widgets `Frame.values` show; captions only where the words are known.

    Args:
        values: of the widgets.
        with_words: the words are known.
        unfinished: a picture that is still to be chosen is no error.

    Raises:
        SyncTalkError: no background picture was given.
    """
    aspect, background, colour, picture, captions, mark = values
    if unfinished and background == "Picture" and not picture:
        background = "Original"
    behind = {"Colour": style.hex_colour(colour), "Picture": picture or "", "Transparent": "transparent"}
    return Look(aspect, behind.get(background, "original"), captions and with_words, mark)
