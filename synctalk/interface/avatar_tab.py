"""The tab 'Make an avatar': check the footage, record consent, get the command. Training runs in a shell."""

import json
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from synctalk.consent import parse
from synctalk.errors import TrainingError, VideoError
from synctalk.interface.handlers import plain_errors
from synctalk.interface.jobs import remove_later

SIGNS = {"good": "✓", "fair": "•", "bad": "✗"}
INTRO = (
    "An avatar is trained from two to five minutes of one person speaking to a still camera, evenly lit, "
    "with clear sound. Training takes minutes to two hours and runs in a terminal; this page checks the "
    "footage, writes the consent record and gives you the command."
)


def make_avatar_tab() -> None:
    """Draw the tab and wire it."""
    quiet: dict[str, Any] = {"api_visibility": "private"}
    gr.Markdown(INTRO)
    with gr.Row():
        with gr.Column(min_width=320):
            video = gr.Video(label="Footage", sources=["upload"], height=260, elem_id="footage")
            check = gr.Button("Check the footage", elem_id="check")
            report = gr.Markdown(elem_id="report")
        with gr.Column(min_width=320):
            name = gr.Textbox(label="Name of the avatar", placeholder="maria", max_length=40)
            who = gr.Textbox(label="Who is shown?", placeholder="Full name", max_length=200)
            how = gr.Textbox(label="How did they agree?", placeholder="Signed letter of ...", max_length=200)
            when = gr.Textbox(label="When? (YYYY-MM-DD)", max_length=10)
            statement = gr.Textbox(
                label="What did they agree to, in their words?", lines=3, max_length=2000, elem_id="statement"
            )
            agree = gr.Checkbox(False, label="I have this person's permission, and I can show it")
            write = gr.Button("Write the consent record", variant="primary", elem_id="consent")
            record = gr.File(label="Consent record", visible=False, interactive=False)
            command = gr.Code(
                label="Then run", language="shell", visible=False, interactive=False, elem_id="command"
            )
    check.click(check_footage, video, report, concurrency_limit=1, **quiet)
    write.click(write_consent, [name, who, how, when, statement, agree], [record, command], **quiet)


def check_footage(video: str | None) -> str:
    """The preflight report as Markdown."""
    from synctalk.training.preflight import preflight

    with plain_errors():
        if not video:
            raise VideoError("Choose a video first.")
        report = preflight(Path(video))
    lines = []
    for found in report.findings:
        advice = f". {found.advice}" if found.advice else ""
        lines.append(f"{SIGNS[found.state]} **{found.name}:** {found.value}{advice}")
    return f"### {report.verdict}\n\n" + "\n\n".join(lines)


def write_consent(name: str, who: str, how: str, when: str, statement: str, agree: bool) -> list[Any]:
    """The consent record as a file, and the command that trains with it."""
    from synctalk.training.train import check_name

    with plain_errors():
        if not agree:
            raise TrainingError("No avatar without permission: tick the box when you have it.")
        check_name(name)
        consent = parse({"who": who, "how": how, "when": when, "statement": statement}, "The form")
    path = Path(tempfile.mkdtemp(prefix="synctalk-")) / f"{name}_consent.json"
    remove_later(path.parent)
    path.write_text(json.dumps(consent.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    command = f"synctalk train VIDEO.mp4 --name {name} --consent {path.name}"
    return [gr.File(str(path), visible=True), gr.Code(command, visible=True)]
