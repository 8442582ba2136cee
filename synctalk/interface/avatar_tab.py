"""The tab 'Make an avatar': check the footage, record consent, get the command. Training runs in a shell."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from synctalk.consent import parse
from synctalk.errors import AudioError, SyncTalkError, TrainingError
from synctalk.training.framing import scan_face
from synctalk.video import probe

_STRIDE = 50  # frames between looks at the face
_GOOD_S, _ENOUGH_S = 120, 30
_SMALL_FACE_PX = 120
INTRO = (
    "An avatar is trained from two to five minutes of one person speaking to a still camera, evenly lit, "
    "with clear sound. Training takes minutes to two hours and runs in a terminal; this page checks the "
    "footage, writes the consent record and gives you the command."
)


@dataclass(frozen=True)
class Finding:
    """One line of the report: 'good', 'note' or 'bad', and what to do."""

    grade: str
    text: str


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
    write.click(
        write_consent, [name, who, how, when, statement, agree], [record, command], queue=False, **quiet
    )


def check_footage(video: str | None) -> str:
    """The report as Markdown."""
    if not video:
        raise gr.Error("Choose a video first.", print_exception=False, title="That did not work")
    try:
        findings = examine(Path(video))
    except SyncTalkError as problem:
        findings = [Finding("bad", str(problem))]
    signs = {"good": "✓", "note": "•", "bad": "✗"}
    lines = [f"{signs[f.grade]} {f.text}" for f in findings]
    fit = all(f.grade != "bad" for f in findings)
    verdict = "This footage can be trained." if fit else "This footage cannot be trained yet."
    return f"**{verdict}**\n\n" + "\n\n".join(lines)


def examine(video: Path) -> list[Finding]:
    """Length, size, sound and face of footage.

    Raises:
        SyncTalkError: the video cannot be read, or no face is found.
    """
    from synctalk.speaking.sound import Recording

    info = probe(video)
    found = []
    seconds = info.duration_s
    if seconds < _ENOUGH_S:
        found.append(Finding("bad", f"It lasts {seconds:.0f} s; {_ENOUGH_S} s are needed, better minutes."))
    elif seconds < _GOOD_S:
        found.append(Finding("note", f"It lasts {seconds:.0f} s; two minutes or more give a better avatar."))
    else:
        found.append(Finding("good", f"It lasts {seconds / 60:.1f} minutes."))
    found.append(Finding("good", f"{info.width}x{info.height} pixels, {info.fps:.4g} frames a second."))
    if not info.has_audio:
        found.append(Finding("bad", "It has no sound. The mouth is learnt from the voice."))
    else:
        try:
            Recording(video)
            found.append(Finding("good", "It has sound."))
        except AudioError as problem:
            found.append(Finding("bad", str(problem)))
    scan = scan_face(video, _STRIDE)
    missing = float(scan.missing.mean())
    grade = "good" if missing < 0.02 else "note"
    found.append(Finding(grade, f"A face is visible in {100 * (1 - missing):.0f} % of the frames looked at."))
    points = scan.landmarks478[..., :2]
    height = float(np.median(np.ptp(points[..., 1], axis=1)))
    if height < _SMALL_FACE_PX:
        found.append(Finding("note", f"The face is only {height:.0f} px tall; move the camera closer."))
    return found


def write_consent(name: str, who: str, how: str, when: str, statement: str, agree: bool) -> list[Any]:
    """The consent record as a file, and the command that trains with it."""
    from synctalk.training.train import check_name

    try:
        if not agree:
            raise TrainingError("No avatar without permission: tick the box when you have it.")
        check_name(name)
        consent = parse({"who": who, "how": how, "when": when, "statement": statement}, "The form")
    except SyncTalkError as problem:
        raise gr.Error(str(problem), print_exception=False, title="That did not work") from problem
    path = Path(tempfile.mkdtemp(prefix="synctalk-")) / f"{name}_consent.json"
    path.write_text(json.dumps(consent.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    command = f"synctalk train VIDEO.mp4 --name {name} --consent {path.name}"
    return [gr.File(str(path), visible=True), gr.Code(command, visible=True)]
