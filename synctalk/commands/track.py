"""`synctalk track`: head poses of a video, and what they are worth where the truth is known."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from synctalk.errors import TrainingError
from synctalk.logs import get_logger

_log = get_logger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("video", help="video of one person")
    parser.add_argument("-o", "--output", type=Path, help="where the track goes (NPZ)")
    parser.add_argument(
        "--like",
        help="avatar name or folder, or a track.npz, of the same person: keep its camera and head space",
    )
    parser.add_argument(
        "--work",
        type=Path,
        help="folder for half-done work, kept; the same command goes on from it "
        "(default: OUTPUT.partial, removed at the end)",
    )
    parser.add_argument(
        "--focal",
        type=float,
        metavar="PX",
        help="focal length in pixels of the frames, if known; a face alone hardly tells it",
    )
    parser.add_argument("--frames", default=":", metavar="A:B", help="range of frames at 25 per second")
    parser.add_argument(
        "--overlay", type=Path, help="write a sheet of frames with the mesh over the face (PNG)"
    )
    parser.add_argument(
        "--evaluate", type=Path, metavar="TRUTH", help="NPZ with the true poses of this video"
    )
    parser.add_argument(
        "--ablation", action="store_true", help="with --evaluate: also with each step left out, as a table"
    )
    parser.add_argument(
        "--damage",
        action="store_true",
        help="with --evaluate: also spoil the footage (noise, compression, a hand, gaps, a cut) and compare",
    )
    parser.add_argument("--landmarks", type=Path, help="NPZ with landmarks478 [T,478,3] of the whole video")
    parser.add_argument("--plot", type=Path, help="with --evaluate: errors over time (PNG)")
    parser.add_argument("--json", type=Path, help="with --evaluate: the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Track, write, and compare with the truth if one is given."""
    from synctalk.head_sync.motion_tracker import MotionSettings
    from synctalk.head_sync.track import TrackSettings
    from synctalk.training import track_report, tracking

    if args.focal is not None and not args.focal > 0:
        raise TrainingError(f"--focal is a length in pixels, not {args.focal:g}.")
    settings = TrackSettings(motion=MotionSettings(focal_px=args.focal))
    start, stop = _range(args.frames)
    for option in ("ablation", "damage"):
        if getattr(args, option) and args.evaluate is None:
            raise TrainingError(f"--{option} compares with the truth: give it with --evaluate TRUTH.npz.")
    bar = _Bar()
    partial = None if args.output is None else args.output.with_suffix(".partial")
    work = args.work or partial
    landmarks = None
    if args.landmarks is not None:
        with np.load(args.landmarks, allow_pickle=False) as data:
            landmarks = data["landmarks478"][start:stop]
    if args.ablation:
        if landmarks is None:
            folder = tracking.work_folder(work, args.video, start, stop)
            landmarks = tracking.capture_landmarks(args.video, start, stop, bar, folder)
        tracks = track_report.ablation(args.video, landmarks, start, stop, bar, settings)
    else:
        track = tracking.track_video(
            args.video, _like(args.like), bar, start, stop, settings, landmarks=landmarks, work=work
        )
        tracks = {"everything": track}
    bar.close()
    track = tracks["everything"]
    _describe(track)
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        track.save(args.output)
        _log.info("Written: %s", args.output)
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    if args.overlay is not None:
        track_report.overlay_sheet(args.overlay, args.video, track, start)
    if args.evaluate is not None:
        truth = track_report.Truth.load(args.evaluate, start, stop)
        errors = {name: truth.error_of(one) for name, one in tracks.items()}
        print(track_report.table(errors))
        if args.plot is not None:
            track_report.error_plot(args.plot, errors)
        figures: dict[str, Any] = {name: error.summary() for name, error in errors.items()}
        figures["focal length (px)"] = float(track.K[0, 0])
        figures["focal search (px, RMS px)"] = track.focal_curve.tolist()
        if args.damage:
            figures["damage"] = _damage(args.video, track, truth, start, stop, bar, settings)
        if args.json is not None:
            args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _damage(
    video: str, track: Any, truth: Any, start: int, stop: int | None, bar: "_Bar", settings: Any
) -> dict[str, Any]:
    """Spoil the footage in every way, print the table, give the figures."""
    from synctalk.training import track_damage
    from synctalk.video import read_frames

    outcomes = track_damage.run_all(
        lambda first: read_frames(video, start=start + first, stop=stop),
        track,
        truth,
        report=bar,
        settings=settings,
    )
    bar.close()
    print(track_damage.damage_table(outcomes))
    return track_damage.figures(outcomes)


def _range(text: str) -> tuple[int, int | None]:
    """Start and stop of 'A:B', either may be missing."""
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return int(first or 0), int(last) if last else None
    except ValueError:
        raise TrainingError(f"--frames wants a range such as 0:500, not {text!r}.") from None


def _like(name: str | None) -> Any:
    """A track to follow: of a file, of a folder with `track.npz`, or of an avatar."""
    if name is None:
        return None
    path = Path(name)
    if path.suffix == ".npz" or (path / "track.npz").exists():
        return path
    from synctalk.avatar import Avatar
    from synctalk.training.preprocess import avatar_track

    return avatar_track(Avatar.from_pretrained(name))


def _describe(track: Any) -> None:
    """The report: camera, how sure the poses are, shots, and the focal search's curve."""
    weak = float((track.confidence < 0.5).mean())
    _log.info("%d frames, focal length %.0f px (%.2f times the width).", len(track), track.K[0, 0],
              track.K[0, 0] / track.size[0])  # fmt: skip
    if len(track.focal_curve):
        curve = ", ".join(f"{focal:.0f}: {error:.3f}" for focal, error in track.focal_curve)
        _log.info("Focal search (px: RMS px): %s.", curve)
    if track.keypoints is not None:
        _log.info(
            "%d points from %d keyframes; %.2f px are left.",
            len(track.keypoints.points),
            len(track.keypoints.keyframes.index),
            float(np.nanmedian(track.residual_px)),
        )
    if weak > 0:
        _log.info("%.1f %% of the frames have few points; their poses lean on their neighbours.", 100 * weak)
    if len(track.cuts):
        _log.info("New shots begin at frames %s.", ", ".join(map(str, track.cuts[:20])))


class _Bar:
    """One progress bar per step."""

    def __init__(self) -> None:
        self._step = ""
        self._bar: Any = None

    def __call__(self, step: str, done: int, total: int) -> None:
        from synctalk.logs import progress

        if step != self._step or self._bar is None:
            self.close()
            self._step, self._bar = step, progress(total=total, label=step)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """End the bar of the running step."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
