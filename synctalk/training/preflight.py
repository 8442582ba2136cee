"""The look at a video before any training: will it make a good avatar, and what should be recorded anew?

Every measure becomes a finding: good, fair (training works, the result suffers) or bad (train nothing on it).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from synctalk.evaluation.sync import SyncScore
from synctalk.training.preflight_measures import (
    FPS,
    PictureMeasures,
    SoundMeasures,
    head_degrees,
    judge_sync,
    listen,
    look_at_picture,
    mouth_shapes,
)
from synctalk.video import VideoInfo, probe

State = Literal["good", "fair", "bad"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked at.
        value: what was found, in words and numbers.
        state: good, fair or bad.
        advice: what to do; empty when good.
    """

    name: str
    value: str
    state: State
    advice: str = ""


@dataclass(frozen=True)
class Preflight:
    """The whole report.

    Attributes:
        video: the file.
        findings: in the order of the page.
        values: the numbers behind them, for JSON.
        picture: what the frames show.
        sound: what the sound is like; None without usable sound.
        sync: the lip-sync judge's answer; None when it could not be asked.
    """

    video: Path
    findings: list[Finding]
    values: dict[str, Any]
    picture: PictureMeasures
    sound: SoundMeasures | None
    sync: SyncScore | None

    @property
    def ok(self) -> bool:
        """True when nothing is bad."""
        return all(finding.state != "bad" for finding in self.findings)

    @property
    def verdict(self) -> str:
        """One sentence."""
        bad = [finding.name for finding in self.findings if finding.state == "bad"]
        fair = [finding.name for finding in self.findings if finding.state == "fair"]
        if bad:
            return f"Not yet: {', '.join(bad)} must be better before training is worth its time."
        if fair:
            return f"Usable; better with another take for {', '.join(fair)}."
        return "Ready for training."

    @property
    def advice(self) -> list[str]:
        """What to record anew, most important first."""
        order = {"bad": 0, "fair": 1, "good": 2}
        ranked = sorted(self.findings, key=lambda finding: order[finding.state])
        return [finding.advice for finding in ranked if finding.advice]

    @property
    def lines(self) -> list[str]:
        """The report as plain text."""
        mark = {"good": "ok  ", "fair": "fair", "bad": "BAD "}
        wide = max(len(finding.name) for finding in self.findings)
        lines = [f"{mark[item.state]}  {item.name:<{wide}}  {item.value}" for item in self.findings]
        lines += ["", self.verdict]
        return lines + [f"- {line}" for line in self.advice]

    def save_page(self, path: Path | str) -> None:
        """Write the report as one HTML page, pictures inside.

        Raises:
            TrainingError: the page cannot be written.
        """
        from synctalk.training.preflight_page import save_page

        save_page(self, Path(path))


def preflight(video: str | os.PathLike[str], threads: int = 2) -> Preflight:
    """Look at a video: about a tenth of its length on two cores.

    Args:
        video: any file ffmpeg reads.
        threads: CPU threads.

    Raises:
        VideoError: it cannot be read at all; everything else is a finding.
    """
    path = Path(video)
    info = probe(path)
    picture = look_at_picture(path, threads)
    sound = listen(path) if info.has_audio else None
    seen = picture.landmarks478
    sync = None
    if sound is not None and len(seen) and picture.frames >= 2 * FPS:
        sync = judge_sync(path, sound, picture.frames, threads)
    findings: list[Finding] = []
    values: dict[str, Any] = {}
    judge_file(info, picture, findings, values)
    judge_face(info, picture, findings, values)
    judge_sound(info, sound, findings, values)
    judge_lip_sync(sync, findings, values)
    if len(seen):
        judge_coverage(picture, findings, values)
    return Preflight(path, findings, values, picture, sound, sync)


def grade(value: float, fair: float, good: float) -> State:
    """Good from `good` on, fair from `fair` on; for measures where less is better give negative numbers."""
    if value >= good:
        return "good"
    return "fair" if value >= fair else "bad"


def add(findings: list[Finding], name: str, value: str, state: State, advice: str) -> None:
    """Append a finding; advice is kept only where something is to be done."""
    findings.append(Finding(name, value, state, "" if state == "good" else advice))


def judge_file(
    info: VideoInfo, picture: PictureMeasures, findings: list[Finding], values: dict[str, Any]
) -> None:
    """Length, frame rate, resolution, cuts."""
    seconds = picture.frames / FPS
    values |= {"seconds": seconds, "fps": info.fps, "width": info.width, "height": info.height}
    values["cuts_s"] = [cut / FPS for cut in picture.cuts]
    add(
        findings, "length", f"{seconds:.0f} s", grade(seconds, 20, 60),
        "Record one to five minutes of continuous speech.",
    )  # fmt: skip
    add(
        findings, "frame rate", f"{info.fps:.4g} frames per second", grade(info.fps, 19.9, 24.9),
        "Record with 25 or 30 frames per second.",
    )  # fmt: skip
    side = min(info.width, info.height)
    add(
        findings, "resolution", f"{info.width}x{info.height}", grade(side, 256, 480),
        "Record with 720 lines or more, the original file, not a messenger's copy.",
    )  # fmt: skip
    times = ", ".join(f"{cut / FPS:.1f} s" for cut in picture.cuts[:6])
    found = f"{len(picture.cuts)} ({times}{' ...' if len(picture.cuts) > 6 else ''})" if times else "none"
    add(
        findings, "cuts", found, grade(-len(picture.cuts), -3, 0),
        "Use one uncut take: every cut breaks the head's track.",
    )  # fmt: skip


def judge_face(
    info: VideoInfo, picture: PictureMeasures, findings: list[Finding], values: dict[str, Any]
) -> None:
    """Is there one face, large, sharp, well lit, before a camera that stands still?"""
    looks = picture.looks
    heights = np.array([look.height_px for look in looks])
    seen = np.isfinite(heights)
    alone = float((seen & (np.array([look.faces for look in looks]) <= 1)).mean())
    values |= {"one_face_share": alone, "face_share": float(seen.mean())}
    add(
        findings, "one face", f"in {alone:.1%} of the frames", grade(alone, 0.9, 0.99),
        "Show one person only, face uncovered, turned to the camera, in the picture from start to end.",
    )  # fmt: skip
    if not seen.any():
        return
    height = float(np.nanmedian(heights))
    values |= {"face_height_px": height, "face_height_share": height / info.height}
    add(
        findings, "face size", f"{height:.0f} px from hairline to chin", grade(height, 100, 160),
        "Come closer or zoom in: the face should fill a third to a half of the picture's height.",
    )  # fmt: skip
    crisp = float(np.nanmedian([look.sharpness for look in looks]))
    values["sharpness"] = crisp
    add(
        findings, "sharpness", f"{crisp:.2f} (from 0.22 up is crisp)", grade(crisp, 0.15, 0.22),
        "Focus on the eyes, clean the lens, use more light and a higher bit rate.",
    )  # fmt: skip
    light = np.array([look.light for look in looks])
    middle, clipped = float(np.nanmedian(light)), float(np.nanmedian([look.clipped for look in looks]))
    flicker = float(np.nanpercentile(light, 95) - np.nanpercentile(light, 5))
    values |= {"light": middle, "clipped": clipped, "light_change": flicker}
    lit = min(
        (grade(middle, 0.08, 0.16), grade(-middle, -0.92, -0.82), grade(-clipped, -0.25, -0.08)),
        key=("bad", "fair", "good").index,
    )
    add(
        findings, "exposure", f"face at {middle:.0%} grey, {clipped:.1%} of it black or burnt out", lit,
        "Light the face evenly from the front and fix the exposure.",
    )  # fmt: skip
    add(
        findings, "steady light", f"face brightness varies by {flicker:.0%}", grade(-flicker, -0.25, -0.12),
        "Switch off automatic exposure and keep passing shadows away.",
    )  # fmt: skip
    moved = picture.camera_px[np.isfinite(picture.camera_px)]
    if len(moved) < len(picture.camera_px) / 2:
        values["camera_px"] = None
        add(findings, "camera", "plain background: movement cannot be told, nor does it show", "good", "")
        return
    drift = float(np.percentile(moved, 95))
    values["camera_px"] = drift
    share = drift / info.width
    add(
        findings, "camera", f"background moves by {drift:.1f} px", grade(-share, -0.02, -0.004),
        "Put the camera on a tripod and switch off stabilisation and zoom.",
    )  # fmt: skip


def judge_sound(
    info: VideoInfo, sound: SoundMeasures | None, findings: list[Finding], values: dict[str, Any]
) -> None:
    """Loudness, noise, clipping, share of speech."""
    if sound is None:
        what = "the sound cannot be used" if info.has_audio else "the video has no sound"
        add(findings, "sound", what, "bad", "Record with a microphone; an avatar learns lips from speech.")
        return
    values |= {"speech_db": sound.speech_db, "noise_db": sound.noise_db}
    values |= {"speech_share": sound.speech_share, "sound_clipped": sound.clipped}
    add(
        findings, "speech", f"{sound.speech_share:.0%} of the time", grade(sound.speech_share, 0.25, 0.5),
        "Speak most of the time, with short pauses.",
    )  # fmt: skip
    if np.isfinite(sound.speech_db):
        add(
            findings, "loudness", f"speech at {sound.speech_db:.0f} dB", grade(sound.speech_db, -50, -38),
            "Come closer to the microphone or raise its level.",
        )  # fmt: skip
    if np.isfinite(sound.speech_db - sound.noise_db):
        above = sound.speech_db - sound.noise_db
        values["speech_over_noise_db"] = above
        add(
            findings, "noise", f"speech {above:.0f} dB above the pauses", grade(above, 8, 18),
            "Record in a quiet room without echo, close to the microphone.",
        )  # fmt: skip
    add(
        findings, "clipping", f"{sound.clipped:.2%} of the sound", grade(-sound.clipped, -0.01, -0.001),
        "Lower the microphone's level.",
    )  # fmt: skip


def judge_lip_sync(sync: SyncScore | None, findings: list[Finding], values: dict[str, Any]) -> None:
    """How late the sound is; an unsure judge is not believed."""
    if sync is None:
        return
    values |= {"sync_offset_frames": sync.offset_frames, "sync_confidence": sync.confidence}
    late = sync.offset_frames
    if sync.confidence < 0.08:
        add(
            findings, "lip sync", f"lips and sound do not seem to belong together "
            f"(confidence {sync.confidence:.2f})", "fair",
            "Check that the speaker in the picture is the voice in the sound.",
        )  # fmt: skip
        return
    words = "in step" if late == 0 else f"sound {abs(late) * 40} ms {'late' if late > 0 else 'early'}"
    add(
        findings, "lip sync", f"{words} (confidence {sync.confidence:.2f})", grade(-abs(late), -2, -1),
        f"Shift the sound by {-late * 40:+d} ms before training (ffmpeg's -itsoffset), or record again.",
    )  # fmt: skip


def judge_coverage(picture: PictureMeasures, findings: list[Finding], values: dict[str, Any]) -> None:
    """Which head angles and mouth shapes the footage holds."""
    seen = picture.landmarks478
    angles = head_degrees(seen)
    low, high = np.percentile(angles, 5, axis=0), np.percentile(angles, 95, axis=0)
    centre = np.median(angles, axis=0)
    far = float((np.abs(angles - [0, centre[1]]) > 35).any(1).mean())
    values |= {"yaw_degrees": [low[0], high[0]], "pitch_degrees": [low[1], high[1]], "profile_share": far}
    spread = f"left-right {low[0]:+.0f} to {high[0]:+.0f}, up-down {low[1]:+.0f} to {high[1]:+.0f} degrees"
    add(
        findings, "head angles", spread, grade(-far, -0.25, -0.05),
        "Face the camera; turn the head by up to 20 degrees now and then, not into profile.",
    )  # fmt: skip
    shapes = mouth_shapes(seen)
    values["mouth_shapes"] = shapes
    add(
        findings, "mouth shapes", f"{shapes} of 36", grade(shapes, 5, 9),
        "Speak clearly and lively; read a text with all sounds of the language.",
    )  # fmt: skip
