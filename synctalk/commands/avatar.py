"""`synctalk avatar ...`: list, show, check and pack avatars; write a consent template."""

import argparse
import json
import zipfile
from pathlib import Path
from typing import Any

from synctalk.errors import AvatarError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their arguments."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = commands.add_parser("list", help="the bundled avatars")
    show = commands.add_parser("show", help="what an avatar says of itself")
    check = commands.add_parser("check", help="load every part and say whether the folder is sound")
    pack = commands.add_parser("pack", help="one zip file of an avatar, to hand on")
    push = commands.add_parser("push", help="upload an avatar to the Hugging Face hub")
    consent = commands.add_parser("consent", help="write a consent template, or check a filled one")
    for sub in (show, check, pack, push):
        sub.add_argument("avatar", metavar="AVATAR", help="bundled name, folder or hub id")
    pack.add_argument("-o", "--output", type=Path, metavar="ZIP", help="default: NAME.zip")
    push.add_argument("repo", metavar="OWNER/NAME", help="the model repository")
    push.add_argument("--public", action="store_true", help="make a new repository public")
    push.add_argument("--dry-run", action="store_true", help="only list the files")
    consent.add_argument("file", type=Path, metavar="FILE.json")
    consent.add_argument("--check", action="store_true", help="check the file in place of writing a template")
    for sub in (listing, show, check, pack, push, consent):
        sub.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do the chosen action."""
    actions = {
        "list": _list,
        "show": _show,
        "check": _check,
        "pack": _pack,
        "push": _push,
        "consent": _consent,
    }
    result, text = actions[args.action](args)
    print(json.dumps(result, indent=2, ensure_ascii=False) if args.json else text)
    return 0


def summary(avatar: Any) -> dict[str, Any]:
    """The facts of an avatar that a list shows."""
    return {
        "name": avatar.name,
        "seconds": round(avatar.frames / avatar.fps, 1),
        "size": list(avatar.size),
        "megabytes": round(sum(p.stat().st_size for p in avatar.folder.rglob("*") if p.is_file()) / 1e6, 1),
        "synthetic": avatar.synthetic,
        "licence": avatar.licence["id"],
        "profile": avatar.description["training"].get("profile"),
        "voice": avatar.voice,
        "parts": [
            name for name in ("torso", "expression") if (avatar.folder / f"{name}.safetensors").is_file()
        ],
    }


def _list(args: argparse.Namespace) -> tuple[Any, str]:
    from synctalk.avatar import Avatar

    rows = [summary(Avatar.from_pretrained(name, verify=False)) for name in Avatar.available()]
    lines = [
        f"{row['name']:12} {row['size'][0]}x{row['size'][1]}  {row['seconds']:6.1f} s  "
        f"{row['megabytes']:5.1f} MB  {row['licence']}{'  synthetic person' if row['synthetic'] else ''}"
        for row in rows
    ]
    return rows, "\n".join(lines) or "No avatars are bundled."


def _show(args: argparse.Namespace) -> tuple[Any, str]:
    from synctalk.avatar import Avatar

    avatar = Avatar.from_pretrained(args.avatar, verify=False)
    facts = {**summary(avatar), "consent": avatar.consent, "licence": avatar.licence}
    facts["training"] = avatar.description["training"]
    lines = [f"{key:12} {value}" for key, value in summary(avatar).items()]
    lines += [f"consent {key:4} {value}" for key, value in avatar.consent.items()]
    lines += [f"{key:24} {value}" for key, value in facts["training"].get("evaluation", {}).items()]
    return facts, "\n".join(lines)


def _check(args: argparse.Namespace) -> tuple[Any, str]:
    from synctalk.avatar import Avatar

    avatar = Avatar.from_pretrained(args.avatar)
    avatar.portrait()
    parts = ["portrait", "motion", "source", "mattes"]
    parts += [name for name in ("torso", "expression") if getattr(avatar, name) is not None]
    for index in {0, avatar.frames // 2, avatar.frames - 1}:
        avatar.source.frame(index)
        avatar.mattes(index)
    return {
        "name": avatar.name,
        "sound": True,
        "parts": parts,
    }, f"{avatar.name} is sound: {', '.join(parts)}."


def _pack(args: argparse.Namespace) -> tuple[Any, str]:
    from synctalk.avatar import Avatar

    avatar = Avatar.from_pretrained(args.avatar)
    target = args.output or Path(f"{avatar.name}.zip")
    if target.exists():
        raise AvatarError(f"{target} is already there. Give another name with --output.")
    partial = target.with_name(target.name + ".part")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as file:
        for path in avatar.files():
            file.write(path, f"{avatar.name}/{path.relative_to(avatar.folder).as_posix()}")
    partial.replace(target)
    size = target.stat().st_size
    return {"file": str(target), "bytes": size}, f"{target}, {size / 1e6:.1f} MB"


def _push(args: argparse.Namespace) -> tuple[Any, str]:
    from synctalk.avatar import Avatar

    avatar = Avatar.from_pretrained(args.avatar)
    result = avatar.push_to_hub(args.repo, private=not args.public, dry_run=args.dry_run)
    if isinstance(result, list):
        return {"files": result}, "Would send:\n" + "\n".join(result)
    return {"commit": result}, result


def _consent(args: argparse.Namespace) -> tuple[Any, str]:
    from synctalk import consent

    if args.check:
        record = consent.read(args.file)
        return record.as_dict(), f"{args.file} is complete: {record.who}, {record.when}."
    if args.file.exists():
        raise AvatarError(f"{args.file} is already there. Add --check to check it, or give another name.")
    args.file.parent.mkdir(parents=True, exist_ok=True)
    args.file.write_text(json.dumps(consent.template(), indent=2) + "\n", encoding="utf-8")
    return (
        consent.template(),
        f"Wrote {args.file}. Fill in every field, then train with --consent {args.file}.",
    )
