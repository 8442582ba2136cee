"""The preflight report as one HTML page: no script, no file beside it."""

import base64
import html
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from synctalk.errors import TrainingError
from synctalk.training.framing import lip_gap
from synctalk.training.preflight_measures import FPS, head_degrees

if TYPE_CHECKING:
    from synctalk.training.preflight import Preflight

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:2rem}
.verdict{padding:.8rem 1rem;border-radius:.5rem;font-weight:600}
.good{background:#e3f4e6}.fair{background:#fdf1d7}.bad{background:#fbe0e0}
table{border-collapse:collapse;width:100%}td{padding:.35rem .6rem;border-bottom:1px solid #e2e5e9}
td:first-child{white-space:nowrap}.state{border-radius:.4rem;padding:0 .5rem;font-size:.85rem}
.shots{display:flex;flex-wrap:wrap;gap:.5rem}.shots img{width:9.4rem;border-radius:.3rem}
svg{width:100%;height:auto;background:#f7f8fa;border-radius:.3rem}
figcaption{font-size:.85rem;color:#57606a}figure{margin:.6rem 0}
"""


def save_page(report: "Preflight", path: Path) -> None:
    """Write `report` to `path`.

    Raises:
        TrainingError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(report), encoding="utf-8")
    except OSError as reason:
        raise TrainingError(f"The report {path} cannot be written: {reason.strerror}.") from reason


def page(report: "Preflight") -> str:
    """The page as text."""
    state = "bad" if not report.ok else "good" if report.verdict.startswith("Ready") else "fair"
    rows = "".join(
        f"<tr><td>{html.escape(item.name)}</td>"
        f'<td><span class="state {item.state}">{item.state}</span></td>'
        f"<td>{html.escape(item.value)}</td><td>{html.escape(item.advice)}</td></tr>"
        for item in report.findings
    )
    shots = "".join(
        f'<img alt="a frame of the video" src="{picture(shot)}">' for shot in report.picture.thumbnails
    )
    name = html.escape(report.video.name)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}: fit for training?</title>'
        f"<style>{_STYLE}</style><h1>{name}: fit for training?</h1>"
        f'<p class="verdict {state}">{html.escape(report.verdict)}</p>'
        f'<div class="shots">{shots}</div><h2>What was found</h2><table>{rows}</table>'
        f"<h2>Over time</h2>{curves(report)}</html>\n"
    )


def picture(frame: NDArray[np.uint8]) -> str:
    """A frame (uint8 RGB) as a data address."""
    _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def curves(report: "Preflight") -> str:
    """Face presence, head angles, mouth opening and loudness as small drawings, cuts marked."""
    looks = report.picture.looks
    seen = np.array([np.isfinite(look.height_px) for look in looks])
    cuts = [cut / report.picture.frames for cut in report.picture.cuts]
    drawings = [curve("a face is seen (1) or not (0)", [seen.astype(float)], (0, 1), cuts)]
    if seen.any():
        angles = np.full((len(looks), 2), np.nan)
        angles[seen] = head_degrees(report.picture.landmarks478)
        reach = max(20.0, float(np.nanmax(np.abs(angles))))
        words = f"head turned left-right (blue) and up-down (orange), -{reach:.0f} to {reach:.0f} degrees"
        drawings.append(curve(words, [angles[:, 0], angles[:, 1]], (-reach, reach), cuts))
        gap = np.full(len(looks), np.nan)
        gap[seen] = lip_gap(report.picture.landmarks478)
        top = max(0.3, float(np.nanmax(gap)))
        drawings.append(curve("mouth opening over the eye distance", [gap], (0, top), cuts))
    if report.sound is not None:
        whole = len(report.sound.samples) // 640 * 640
        power = (report.sound.samples[:whole].reshape(-1, 640).astype(np.float64) ** 2).mean(1)
        level = 10 * np.log10(np.maximum(power, 1e-8))
        step = max(1, len(level) // 600)
        level = level[: len(level) // step * step].reshape(-1, step).max(1)
        drawings.append(curve("loudness, -80 to 0 dB", [level], (-80, 0), cuts))
    if report.sync is not None:
        words = (
            f"lip sync: distance at each shift from {report.sync.shifts[0]:+d} to "
            f"{report.sync.shifts[-1]:+d} frames of {1000 // FPS} ms; the lowest point is the offset"
        )
        distance = report.sync.curve.astype(float)
        reach_low, reach_high = float(np.nanmin(distance)) - 0.02, float(np.nanmax(distance)) + 0.02
        drawings.append(curve(words, [distance], (reach_low, reach_high), []))
    return "".join(drawings)


def curve(
    words: str, lines: list[NDArray[np.floating]], limits: tuple[float, float], cuts: list[float]
) -> str:
    """One drawing: lines over the whole width, NaN left out, cuts as red lines at shares 0..1."""
    wide, high = 800, 90
    parts = []
    for line, colour in zip(lines, ("#2a6f97", "#e08e45"), strict=False):
        x = np.linspace(0, wide, max(len(line), 2))[: len(line)]
        y = high - 4 - (line - limits[0]) / max(limits[1] - limits[0], 1e-9) * (high - 8)
        good = np.isfinite(y)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            points = " ".join(f"{x[k]:.1f},{y[k]:.1f}" for k in range(start, stop))
            parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.3" points="{points}"/>')
    parts += [
        f'<line x1="{c * wide:.1f}" x2="{c * wide:.1f}" y1="0" y2="{high}" stroke="#c1121f"/>' for c in cuts
    ]
    drawing = f'<svg viewBox="0 0 {wide} {high}" role="img">{"".join(parts)}</svg>'
    return f"<figure>{drawing}<figcaption>{html.escape(words)}</figcaption></figure>"
