"""`synctalk express`: the expression of a voice as curves, without a video."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("audio", type=Path, help="a recording; any format ffmpeg reads")
    parser.add_argument("-o", "--output", type=Path, required=True, help="curves.npz: names, weights [T,52]")
    parser.add_argument("--avatar", default=None, help="bring the curves into this avatar's own range")
    parser.add_argument(
        "--emotion",
        default=None,
        help="neutral, happy, serious, surprised or question; default: heard",
    )
    parser.add_argument("--strength", type=float, default=1.0, help="of the emotion, 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="of blinks and raised brows")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="also a sheet of the avatar saying it")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    import numpy as np

    from synctalk.avatar import Avatar
    from synctalk.errors import AvatarError
    from synctalk.expression.generator import ExpressionGenerator
    from synctalk.expression.voice import RunningVoice, arousal, voice_features
    from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES
    from synctalk.speaking.generated import GeneratedExpression
    from synctalk.speech.audio import load_audio

    if args.sheet and not args.avatar:
        raise AvatarError("--sheet needs an --avatar to show.")
    samples = load_audio(args.audio)
    features = voice_features(samples)
    avatar = Avatar.from_pretrained(args.avatar) if args.avatar else None
    own = avatar.blendshapes.numpy() if avatar else np.zeros((1, len(BLENDSHAPE_NAMES)), np.float32)
    codebook = avatar.expression if avatar else None
    made = GeneratedExpression(
        own, ExpressionGenerator.load(), codebook, args.emotion, args.strength, seed=args.seed
    )
    rest = np.repeat(np.median(own, axis=0, keepdims=True), len(features), axis=0).astype(np.float32)
    weights = made.push(features, rest)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.output, names=np.array(BLENDSHAPE_NAMES), weights=weights, fps=25)
    if avatar and args.sheet:
        from synctalk.evaluation.expression_render import sentence_sheet
        from synctalk.face_sync.audio_visual_encoder import AudioVisualEncoder

        sentence_sheet(avatar, weights, AudioVisualEncoder.from_pretrained().encode(samples), args.sheet)
    lively = arousal(RunningVoice().normalise(features))
    print(f"{len(weights)} frames in {args.output}; arousal heard in the voice: {lively:.2f} of 1")
    return 0
