"""`synctalk speak`: text or sound in, a video out."""

import argparse
import json
import sys
from pathlib import Path

from synctalk.errors import SpeechError
from synctalk.logs import get_logger, progress
from synctalk.speaking import options

log = get_logger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    said = parser.add_mutually_exclusive_group()
    said.add_argument("--text", help="what to say; - reads it from standard input")
    said.add_argument("--text-file", type=Path, help="a text file with what to say")
    said.add_argument("--audio", type=Path, help="a recording to lip-sync to")
    said.add_argument("--list-voices", action="store_true", help="list the voices and stop")
    parser.add_argument("-o", "--output", type=Path, default=Path("out.mp4"), help="default: out.mp4")
    parser.add_argument("--srt", type=Path, help="also write captions to this file")
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")
    options.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Make the video.

    Raises:
        SyncTalkError: anything about the input that cannot be used.
    """
    from synctalk.speak import Progress, speak

    if args.list_voices:
        return _list_voices(args.json)
    text = _text(args)
    with progress(label="Rendering") as bar:

        def show(state: Progress) -> None:
            bar.total = state.total
            bar.update(state.done - bar.n)

        video = speak(
            text,
            args.audio,
            args.output,
            avatar=args.avatar,
            voice=args.voice,
            engine=args.engine,
            expression=options.expression(args),
            look=options.look(args),
            seed=args.seed,
            credentials=options.credentials(args),
            progress=show,
        )
    if args.srt is not None:
        if not video.words:
            raise SpeechError("The words of a recording are not known, so there are no captions to write.")
        args.srt.write_text(video.srt(), encoding="utf-8")
    for note in video.notes:
        log.info(note)
    fps = video.frames / video.seconds
    if args.json:
        print(
            json.dumps(
                {
                    "output": str(video.path),
                    "frames": video.frames,
                    "fps": video.fps,
                    "width": video.width,
                    "height": video.height,
                    "duration_s": video.duration_s,
                    "seconds": round(video.seconds, 3),
                    "frames_per_second": round(fps, 1),
                    "first_frame_s": round(video.first_frame_s, 3),
                    "split_ms": video.split_ms,
                    "notes": video.notes,
                }
            )
        )
    else:
        print(f"{video.path}: {video.duration_s:.1f} s, made in {video.seconds:.1f} s ({fps:.0f} frames/s)")
    return 0


def _text(args: argparse.Namespace) -> str | None:
    if args.text == "-":
        return sys.stdin.read()
    if args.text_file is None:
        return None if args.text is None else str(args.text)
    try:
        return str(args.text_file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpeechError(f"{args.text_file} cannot be read as text: {error}.") from error


def _list_voices(as_json: bool) -> int:
    from synctalk.speech.text_to_speech import voices

    rows = [{"name": v.name, "label": v.label, "language": v.language, "engine": v.engine} for v in voices()]
    if as_json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(f"{row['name']:<28} {row['engine']:<8} {row['label']}")
    return 0
