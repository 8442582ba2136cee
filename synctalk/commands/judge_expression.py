"""`synctalk judge-expression`: the expression generator, the codebook and the blinks against true curves."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--clip",
        nargs=2,
        type=Path,
        action="append",
        default=[],
        metavar=("VIDEO", "CURVES"),
        help="a video (or its sound) and an NPZ with its true coefficients: 'weights' or 'bs52' [T,52], and "
        "optionally 'style' [T] with 'style_names'; may be given several times",
    )
    parser.add_argument("--held-out", type=float, default=0.1, help="share at each clip's end to measure on")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="CURVES",
        help="measure on whole clips, and take the baselines from these curves",
    )
    parser.add_argument("--models", type=Path, help="folder with other models than those that ship")
    parser.add_argument(
        "--avatar",
        action="append",
        default=[],
        help="also judge this avatar's codebook on the clip at the same place; may be given several times",
    )
    parser.add_argument("--scale", type=float, default=2.0, help="magnification of foreign coefficients")
    parser.add_argument(
        "--render",
        type=Path,
        metavar="PNG",
        help="render the first avatar with magnified coefficients, with and without its codebook: a sheet",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    import numpy as np

    from synctalk.avatar import Avatar
    from synctalk.errors import TrainingError
    from synctalk.evaluation.expression import (
        compare,
        compare_blinks,
        compare_raises,
        generate_as_filmed,
        judge_codebook,
    )
    from synctalk.evaluation.expression_render import codebook_of, judge_render
    from synctalk.expression.accents import Raises
    from synctalk.expression.blinks import Blinks
    from synctalk.expression.generator import ExpressionGenerator
    from synctalk.face_sync.blendshapes import blendshape_indices
    from synctalk.speaking.generated import blink_habit
    from synctalk.speech.audio import load_audio
    from synctalk.training.expression import filmed, read_curves, without_blinks

    if args.avatar and len(args.avatar) > max(len(args.clip), 1):
        raise TrainingError("Give one --clip for each --avatar, in the same order.")
    weights = args.models / "expression_generator.safetensors" if args.models else None
    generator = ExpressionGenerator.load(weights)
    avatars = [Avatar.from_pretrained(name) for name in args.avatar]
    lid, brow = blendshape_indices("eyeBlinkLeft", "browInnerUp")
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for place, (video, file) in enumerate(args.clip):
        curves, styles = read_curves(file)
        clip = filmed(load_audio(video), curves, styles)
        start = 0 if args.before else round((1 - args.held_out) * len(clip.features))
        known = read_curves(args.before)[0] if args.before else curves[:start]
        table = compare(generator, clip, without_blinks(known), start)
        lids = known[:, lid]
        rest, shut = np.median(lids), np.percentile(lids, 99)
        made = rest + Blinks(blink_habit(known)).next(25 * 60 * 10) * (shut - rest)
        blinks = compare_blinks(made.clip(0, 1), curves[:, lid])
        table |= {f"blinks {name}": row for name, row in blinks.items()}
        brows = generate_as_filmed(generator, clip)[:, brow] + Raises().push(clip.features)
        table |= {f"raises {name}": row for name, row in compare_raises(brows, clip.curves[:, brow]).items()}
        if place < len(avatars):
            table["codebook"] = judge_codebook(codebook_of(avatars[place]), curves[start:], args.scale)
        figures[video.stem] = table
    if args.render:
        if not avatars:
            raise TrainingError("--render needs an --avatar.")
        figures["render"] = judge_render(avatars[0], args.render, args.scale)
    for clip_name, methods in figures.items():
        for method, row in methods.items():
            print(
                f"{clip_name:16} {method:16} " + " ".join(f"{key} {value:.3f}" for key, value in row.items())
            )
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0
