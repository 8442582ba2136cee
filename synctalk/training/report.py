"""The report page of a training: curves, side-by-side frames, error maps, a held-out video."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synctalk.avatar_card import FIGURES
from synctalk.evaluation.reconstruction import Evaluation, Rendered
from synctalk.video import VideoWriter

ERROR_GAIN = 4
WIDTH, HEIGHT, LEFT, BOTTOM = 560, 180, 62, 22
COLOURS = ("#3056d3", "#c2410c", "#15803d", "#7e22ce")
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem;color:#1c1c22}
h1{margin-bottom:.2rem}table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .8rem;
border-bottom:1px solid #ddd;text-align:left}td:last-child{text-align:right;font-variant-numeric:tabular-nums}
.curves{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:1rem}
svg{width:100%;height:auto}figure{margin:1rem 0}img,video{width:100%;max-width:1024px}
figcaption,.note{color:#667}
"""


class HeldOut:
    """Collects held-out frames for the page: a video and a sheet of truth, render and error.

    Args:
        folder: where `heldout.mp4` and `frames.jpg` go.
        size: side of the frames, px.
        chosen: dataset indices of the frames on the sheet.
        audio: the sound of the held-out part, samples and rate.
    """

    def __init__(
        self, folder: Path, size: int, chosen: Sequence[int], audio: tuple[NDArray[np.float32], int] | None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._chosen = set(chosen)
        self._rows: list[NDArray[np.uint8]] = []
        self._half = size // 2 // 2 * 2
        self._video = VideoWriter(folder / "heldout.mp4", 2 * self._half, self._half, audio=audio, crf=26)

    def __call__(self, shot: Rendered) -> None:
        """Takes the next frame."""
        pair = np.concatenate([self._small(shot.truth), self._small(shot.image)], axis=1)
        self._video.write(np.ascontiguousarray(pair))
        if shot.index in self._chosen:
            error = np.abs(shot.truth.astype(np.int16) - shot.image.astype(np.int16)) * ERROR_GAIN
            shots = (shot.truth, shot.image, shot.head, error.clip(0, 255).astype(np.uint8))
            self._rows.append(np.concatenate([self._small(picture) for picture in shots], axis=1))

    def _small(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        half = (self._half, self._half)
        return np.asarray(cv2.resize(picture, half, interpolation=cv2.INTER_AREA), np.uint8)

    def close(self) -> None:
        """Write video and sheet."""
        self._video.close()
        if self._rows:
            sheet = cv2.cvtColor(np.concatenate(self._rows, axis=0), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(self._folder / "frames.jpg"), sheet, [cv2.IMWRITE_JPEG_QUALITY, 82])


def write_report(
    path: Path,
    name: str,
    history: Sequence[Mapping[str, Any]],
    evaluation: Evaluation | None,
    facts: Mapping[str, str],
) -> None:
    """Writes the page; pictures lie in `report/` beside it.

    Args:
        path: the HTML file.
        name: the avatar.
        history: what the trainer reported.
        evaluation: the figures on held-out frames, or None.
        facts: short rows about the run.
    """
    title = html.escape(f"{name}: training report")
    parts = [
        "<!doctype html>",
        f'<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>',
        f"<h1>{title}</h1>",
        _table(facts),
    ]
    if evaluation is not None:
        shown = {
            label: f"{evaluation.figures[key]:.3f}"
            for key, label in FIGURES.items()
            if key in evaluation.figures
        }
        count = round(evaluation.figures["frames"])
        parts += [f"<h2>{count} held-out frames</h2>", _table(shown)]
        parts += [
            '<figure><img src="report/frames.jpg" alt="truth, render, head, error">',
            f"<figcaption>Truth, render, rendered head alone, error times {ERROR_GAIN}.</figcaption>",
            "</figure>",
            '<figure><video src="report/heldout.mp4" controls loop></video>',
            "<figcaption>Truth left, render right; never trained on.</figcaption></figure>",
            '<figure><img src="report/expressions.jpg" alt="extreme expressions">',
            "<figcaption>Each driven coefficient at 0, at the person's own reach, and at 1.</figcaption>",
            "</figure>",
            '<div class="curves">',
            curve(
                "Mouth opening over eye distance (frames)",
                {
                    "truth": list(enumerate(evaluation.true_opening)),
                    "render": list(enumerate(evaluation.opening)),
                },
            ),
            curve("PSNR by frame (dB)", {"whole frame": list(enumerate(evaluation.psnr_per_frame))}),
            "</div>",
        ]
    parts += ["<h2>Training</h2>", '<div class="curves">', *_training_curves(history), "</div>", "</html>"]
    path.write_text("\n".join(parts), encoding="utf-8")


def _training_curves(history: Sequence[Mapping[str, Any]]) -> list[str]:
    groups = {
        "Loss by step": ("loss",),
        "L1 and D-SSIM by step": ("l1", "dssim"),
        "Perceptual distance by step": ("perceptual",),
        "Perceptual weight by step": ("perceptual_weight",),
        "Held-out PSNR by step (dB)": ("psnr_head", "psnr_mouth", "psnr_lids"),
        "Gaussians by step": ("gaussians",),
    }
    drawn = []
    for title, keys in groups.items():
        lines = {
            key: [(float(row["step"]), float(row[key])) for row in history if key in row] for key in keys
        }
        lines = {key: points for key, points in lines.items() if len(points) > 1}
        if lines:
            drawn.append(curve(title, lines))
    return drawn


def _table(rows: Mapping[str, str]) -> str:
    cells = (
        f"<tr><td>{html.escape(key)}</td><td>{html.escape(value)}</td></tr>" for key, value in rows.items()
    )
    return f"<table>{''.join(cells)}</table>"


def curve(title: str, lines: Mapping[str, Sequence[tuple[float, float]]], most: int = 300) -> str:
    """An SVG line chart; each line is (x, y) pairs, averaged down to at most `most` points."""
    thinned = {name: _thinned(points, most) for name, points in lines.items()}
    xs = np.array([x for points in thinned.values() for x, _ in points])
    ys = np.array([y for points in thinned.values() for _, y in points])
    x0, x1, y0, y1 = xs.min(), xs.max(), ys.min(), ys.max()
    wide, high = max(x1 - x0, 1e-9), max(y1 - y0, 1e-9)

    def place(x: float, y: float) -> str:
        across = LEFT + (x - x0) / wide * (WIDTH - LEFT - 8)
        return f"{across:.1f},{8 + (y1 - y) / high * (HEIGHT - BOTTOM - 8):.1f}"

    shapes = []
    for (name, points), colour in zip(thinned.items(), COLOURS, strict=False):
        path = " ".join(place(x, y) for x, y in points)
        shapes.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>')
        label = html.escape(name)
        shapes.append(
            f'<text x="{LEFT + 8 + 110 * (len(shapes) // 2)}" y="{HEIGHT - 4}" fill="{colour}">{label}</text>'
        )
    ticks = (
        f'<text x="{LEFT - 4}" y="16" text-anchor="end">{y1:.5g}</text>'
        f'<text x="{LEFT - 4}" y="{HEIGHT - BOTTOM}" text-anchor="end">{y0:.5g}</text>'
        f'<text x="{WIDTH - 4}" y="{HEIGHT - 4}" text-anchor="end">{x1:.6g}</text>'
        f'<path d="M{LEFT} 8V{HEIGHT - BOTTOM}H{WIDTH}" fill="none" stroke="#bbb"/>'
    )
    return (
        f'<figure><figcaption>{html.escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-size="12" fill="#667">{ticks}{"".join(shapes)}</svg></figure>'
    )


def _thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    values = np.array([point for point in points if np.isfinite(point[1])]).reshape(-1, 2)
    if len(values) <= most:
        return [(float(x), float(y)) for x, y in values]
    return [(float(x), float(y)) for x, y in (part.mean(axis=0) for part in np.array_split(values, most))]
