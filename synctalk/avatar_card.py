"""The model card of an avatar: README.md with the front matter Hugging Face reads."""

from collections.abc import Mapping
from typing import Any

FIGURES = {
    "psnr": "PSNR, whole frame (dB)",
    "psnr_head": "PSNR, head only (dB)",
    "psnr_face": "PSNR, face region (dB)",
    "psnr_mouth": "PSNR, mouth region (dB)",
    "ms_ssim": "MS-SSIM, whole frame",
    "ms_ssim_head": "MS-SSIM, head only",
    "lmd_px": "Landmark distance of the outer mouth (px)",
    "lmd_static_px": "the same with a frozen mouth (px)",
    "mouth_correlation": "Mouth opening, correlation with the truth",
    "mouth_lag_frames": "Mouth lag (frames)",
    "psnr_lids": "PSNR, eyes while they are shut (dB)",
    "eyes_shut": "Eyes shut where the truth's are (share)",
    "eye_correlation": "Eye opening, correlation with the truth",
    "flicker_ratio": "Flicker of static skin over the truth's",
}


def avatar_card(description: Mapping[str, Any]) -> str:
    """The card's Markdown from the contents of `avatar.json`."""
    name = description["name"]
    consent = description["consent"]
    synthetic = bool(consent.get("synthetic"))
    training = description.get("training", {})
    about = (
        "This person does not exist: a rendered, synthetic presenter, clearly computer-made."
        if synthetic
        else "This avatar shows a real person, who agreed to it as recorded below."
    )
    lines = [
        "---",
        "library_name: synctalk",
        "pipeline_tag: text-to-video",
        "tags: [talking-head, avatar, gaussian-splatting, synctalk]",
        f"license: {description['licence'].get('id', 'other')}",
        "---",
        "",
        f"# {name}",
        "",
        f"A SyncTalk++ avatar, {description['size'][0]}x{description['size'][1]} at {description['fps']} "
        f"frames per second, {description['frames'] / description['fps']:.0f} seconds of source. {about}",
        "",
        "```python",
        "from synctalk import speak",
        "",
        f'speak("Hello there.", avatar="{name}", output="hello.mp4")',
        "```",
        "",
        "## Consent",
        "",
        *(f"- **{key}**: {consent[key]}" for key in ("who", "how", "when", "statement")),
        "",
        "Use it only for what was agreed to. Videos made with it must not pretend to be recordings.",
        "",
        "## Licence",
        "",
        description["licence"].get("text", ""),
        "",
    ]
    figures = training.get("evaluation", {})
    if figures:
        lines += [
            "## How good it is",
            "",
            f"Measured on {figures.get('frames', '?')} frames that were never trained on:",
            "",
            "| figure | value |",
            "|---|---|",
            *(f"| {label} | {figures[key]:.3f} |" for key, label in FIGURES.items() if key in figures),
            "",
        ]
    if "profile" in training:
        lines += [
            "## Training",
            "",
            f"Profile `{training['profile']}`, {training.get('seconds_of_video', 0):.0f} seconds of video, "
            f"{training.get('minutes', 0):.1f} minutes for the whole command. See `report.html`.",
            "",
        ]
    return "\n".join(lines)
