"""`synctalk sync CLIP`: how late is the sound, and how sure is the judge?"""

import argparse
import json
from pathlib import Path

from synctalk.evaluation.sync import REACH, judge_video, save_curve
from synctalk.face_sync.sync_expert import SyncExpert


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("clip", type=Path, help="a video with one speaking face and sound")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write offset_frames, confidence and distance"
    )
    parser.add_argument(
        "--curve", type=Path, metavar="PNG", help="where the curve goes (default: CLIP.sync.png)"
    )
    parser.add_argument("--no-curve", action="store_true", help="draw no curve")
    parser.add_argument("--reach", type=int, default=REACH, help="largest shift tried, in frames")
    parser.add_argument("--expert", type=Path, help="weights of the expert (default: the embedded ones)")
    parser.add_argument(
        "--syncnet",
        type=Path,
        metavar="FOLDER",
        help="your SyncNet weights: also print LSE-C and LSE-D",
    )


def run(args: argparse.Namespace) -> int:
    """Judge the clip, print and save what was found."""
    score = judge_video(args.clip, SyncExpert.from_pretrained(args.expert), args.reach)
    late = score.offset_frames
    meaning = (
        "in step" if late == 0 else f"the sound is {abs(late) * 40} ms {'late' if late > 0 else 'early'}"
    )
    sure = f"confidence {score.confidence:.3f}, distance {score.distance:.3f}"
    print(f"offset {late:+d} frames ({meaning}), {sure}")
    found: dict[str, float] = score.as_dict()
    if args.syncnet:
        from synctalk.evaluation.lse import lip_sync_error

        published = lip_sync_error(args.clip, args.syncnet)
        print(f"LSE-C {published.lse_c:.3f}, LSE-D {published.lse_d:.3f} (SyncNet)")
        found |= {"lse_c": published.lse_c, "lse_d": published.lse_d}
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if not args.no_curve:
        target = args.curve or args.clip.with_suffix(".sync.png")
        save_curve(score, target)
        print(f"curve: {target}")
    return 0
