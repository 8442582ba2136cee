"""`synctalk blendshapes VIDEO -o curves.npz`: the 52 facial coefficients of each frame."""

import argparse
import time
from pathlib import Path

import numpy as np

from synctalk.errors import VideoError
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES
from synctalk.face_sync.capturer import FaceCapturer
from synctalk.logs import progress
from synctalk.video import probe, read_frames


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("video", type=Path, help="a video with one face")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="NPZ",
        help="names [52], weights [T,52], landmarks68 [T,68,2] (px), confidence [T], fps (25); "
        "frames without a face are NaN with confidence 0",
    )
    parser.add_argument(
        "--own",
        action="store_true",
        help="keep the network's own coefficients instead of those read from the mesh's movement",
    )
    parser.add_argument("--fill", action="store_true", help="bridge frames without a face instead of NaN")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")


def run(args: argparse.Namespace) -> int:
    """Measure the video and write the file.

    Raises:
        VideoError: the video cannot be read, shows no face, or the output cannot be written.
    """
    info = probe(args.video)
    capturer = FaceCapturer(threads=args.threads, readout=not args.own)
    began = time.perf_counter()
    track = capturer.capture(progress(read_frames(args.video), total=info.frames, label="face"))
    speed = len(track) / (time.perf_counter() - began)
    bridged = track.filled()
    written = bridged if args.fill else track
    target = args.output if args.output.suffix == ".npz" else args.output.with_name(args.output.name + ".npz")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            target,
            names=np.array(BLENDSHAPE_NAMES),
            weights=written.blendshapes,
            landmarks68=written.landmarks68,
            confidence=written.confidence,
            fps=np.float32(25),
        )
    except OSError as reason:
        raise VideoError(f"{target} cannot be written: {reason.strerror}.") from reason
    seen = int((~track.missing).sum())
    print(f"{target}: {len(track)} frames, a face in {seen} ({seen / len(track):.1%}), {speed:.0f} fps")
    if (track.faces > 1).any():
        print("More than one face is in the picture; the largest and most central one was followed.")
    return 0
