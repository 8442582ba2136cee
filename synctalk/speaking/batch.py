"""Many lines, one video each: resumable, and one bad line does not stop the rest."""

import csv
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from synctalk.editing import Look
from synctalk.errors import SyncTalkError
from synctalk.logs import get_logger, progress
from synctalk.provenance import Credentials
from synctalk.speaking.expression import Expression, expression_from

log = get_logger(__name__)

_PLAIN = ("id", "text", "audio", "avatar", "voice", "engine", "seed", "aspect", "background")
_EXPRESSION = tuple(f.name for f in fields(Expression))


@dataclass(frozen=True)
class Defaults:
    """What holds for every line that does not say otherwise."""

    avatar: str = "ben"
    voice: str | None = None
    engine: str = "auto"
    seed: int = 0
    expression: Expression = field(default_factory=Expression)
    look: Look = field(default_factory=Look)
    credentials: Credentials | None = None


@dataclass(frozen=True)
class Line:
    """One line of the list: its number in the file, and its filled columns."""

    number: int
    values: dict[str, str]
    folder: Path
    """Where relative paths in the line start."""


@dataclass(frozen=True)
class Result:
    """What became of a line: 'done', 'kept' (was there already) or 'failed'."""

    line: int
    id: str
    status: str
    video: str = ""
    duration_s: float = 0.0
    seconds: float = 0.0
    error: str = ""
    key: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def read_lines(path: Path) -> list[Line]:
    """The lines of a CSV file with a header, or of a JSONL file.

    Raises:
        SyncTalkError: the file cannot be read, has no lines, or no column 'text' or 'audio'.
    """
    try:
        raw = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SyncTalkError(f"{path} cannot be read as UTF-8 text: {error}.") from error
    rows = list(
        _json_rows(path, raw) if path.suffix.lower() in (".jsonl", ".ndjson") else _csv_rows(path, raw)
    )
    lines = [
        Line(number, {k: v for k, v in row.items() if v != ""}, path.parent) for number, row in rows if row
    ]
    if not lines:
        raise SyncTalkError(f"{path} holds no lines.")
    return lines


def _csv_rows(path: Path, raw: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(raw.splitlines(keepends=True), skipinitialspace=True)
    header = [name.strip().lower() for name in reader.fieldnames or []]
    if not {"text", "audio"} & set(header):
        raise SyncTalkError(f"{path} needs a header with a column 'text' or 'audio'; it has {header}.")
    reader.fieldnames = header
    for row in reader:
        yield reader.line_num, {k: v.strip() for k, v in row.items() if isinstance(k, str) and v is not None}


def _json_rows(path: Path, raw: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, text in enumerate(raw.splitlines(), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            yield number, {"broken": f"no JSON: {error}"}
            continue
        if not isinstance(row, dict):
            yield number, {"broken": "not an object with fields"}
            continue
        yield number, {str(k): "" if v is None else str(v).strip() for k, v in row.items()}


def run_batch(
    lines: Sequence[Line],
    out: Path,
    defaults: Defaults,
    *,
    workers: int = 1,
    ray: str | None = None,
    again: bool = False,
) -> list[Result]:
    """Make every line's video in `out` and keep `out/results.csv` up to date as they finish.

    A line is not made again when its video is there and everything that matters to it is unchanged.

    Args:
        lines: what to make.
        out: folder for the videos, made if missing.
        defaults: for what a line leaves out.
        workers: processes on this machine.
        ray: address of a Ray cluster ('auto' finds a running one); its nodes must see the same folders.
        again: make everything again.

    Returns:
        One result per line, in the list's order.
    """
    if workers < 1:
        raise SyncTalkError(f"--workers must be at least 1, not {workers}.")
    out.mkdir(parents=True, exist_ok=True)
    before = {} if again else _earlier(out)
    names = _names(lines)
    results: dict[int, Result] = {}
    todo: list[tuple[int, Line, str, str]] = []
    for place, (line, name) in enumerate(zip(lines, names, strict=True)):
        key = _key(line, defaults)
        old = before.get(name)
        if (
            old is not None
            and old.key == key
            and old.status in ("done", "kept")
            and (out / old.video).is_file()
        ):
            results[place] = replace(old, line=line.number, status="kept")
        else:
            todo.append((place, line, name, key))
    finished = _on_ray(todo, out, defaults, ray) if ray else _on_this_machine(todo, out, defaults, workers)
    with progress(total=len(todo), label="Batch", unit="video") as bar:
        for place, result in finished:
            results[place] = result
            _write(out, results)
            bar.update()
    _write(out, results)
    return [results[place] for place in range(len(lines))]


def make_one(line: Line, name: str, key: str, out: Path, defaults: Defaults) -> Result:
    """One line's video; what goes wrong with the line is told in the result."""
    from synctalk.speak import speak

    began = time.perf_counter()
    try:
        job = _job(line, defaults)
        output = out / f"{name}{'.mov' if job['look'].transparent else '.mp4'}"
        video = speak(output=output, credentials=defaults.credentials, **job)
        if video.words:
            output.with_suffix(".srt").write_text(video.srt(), encoding="utf-8")
    except (SyncTalkError, OSError) as error:
        return Result(line.number, name, "failed", error=str(error), key=key)
    seconds = time.perf_counter() - began
    return Result(
        line.number, name, "done", output.name, round(video.duration_s, 2), round(seconds, 2), key=key
    )


def _job(line: Line, defaults: Defaults) -> dict[str, Any]:
    """Arguments for `speak`.

    Raises:
        SyncTalkError: a column is unknown or a value cannot be used.
    """
    values = dict(line.values)
    if "broken" in values:
        raise SyncTalkError(values["broken"])
    unknown = sorted(set(values) - {*_PLAIN, *_EXPRESSION})
    if unknown:
        known = ", ".join((*_PLAIN, *_EXPRESSION))
        raise SyncTalkError(f"Unknown column {unknown[0]!r}. Known: {known}.")
    given = {k: v for k, v in values.items() if k in _EXPRESSION}
    seed = values.get("seed", str(defaults.seed))
    if not re.fullmatch(r"\d+", seed):
        raise SyncTalkError(f"seed must be a whole number, not {seed!r}.")
    background = values.get("background")
    return {
        "text": values.get("text"),
        "audio": line.folder / values["audio"] if "audio" in values else None,
        "avatar": values.get("avatar", defaults.avatar),
        "voice": values.get("voice", defaults.voice),
        "engine": values.get("engine", defaults.engine),
        "seed": int(seed),
        "expression": expression_from({**asdict(defaults.expression), **given}),
        "look": replace(
            defaults.look,
            aspect=values.get("aspect", defaults.look.aspect),
            background=defaults.look.background if background is None else background,
        ),
    }


def _on_this_machine(
    todo: list[tuple[int, Line, str, str]], out: Path, defaults: Defaults, workers: int
) -> Iterator[tuple[int, Result]]:
    if workers == 1:
        for place, line, name, key in todo:
            yield place, make_one(line, name, key, out, defaults)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {
            pool.submit(make_one, line, name, key, out, defaults): (place, line, name)
            for place, line, name, key in todo
        }
        for future in as_completed(futures):
            place, line, name = futures[future]
            try:
                yield place, future.result()
            except BrokenProcessPool:
                problem = "the worker process ended (out of memory?); run the batch again with fewer workers"
                yield place, Result(line.number, name, "failed", error=problem)


def _on_ray(
    todo: list[tuple[int, Line, str, str]], out: Path, defaults: Defaults, address: str
) -> Iterator[tuple[int, Result]]:
    """One Ray task per line; Ray retries a task whose node is lost."""
    try:
        import ray
    except ImportError as error:
        raise SyncTalkError("Ray is not installed. Run: pip install 'synctalk[ray]'") from error
    try:
        ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SyncTalkError(f"No Ray cluster at {address}: {error}") from error
    task = ray.remote(num_cpus=1, max_retries=3)(make_one)
    target = out.resolve()
    waiting = {
        task.remote(replace(line, folder=line.folder.resolve()), name, key, target, defaults): (
            place,
            line,
            name,
        )
        for place, line, name, key in todo
    }
    try:
        while waiting:
            ready, _ = ray.wait(list(waiting))
            place, line, name = waiting.pop(ready[0])
            try:
                yield place, ray.get(ready[0])
            except ray.exceptions.RayError as error:
                yield place, Result(line.number, name, "failed", error=f"lost on the cluster: {error}")
    finally:
        ray.shutdown()


def _names(lines: Sequence[Line]) -> list[str]:
    """A file name for each line: its id, or its number; made unique."""
    names: list[str] = []
    taken: set[str] = set()
    for line in lines:
        wanted = re.sub(r"[^\w.-]+", "_", line.values.get("id", "")).strip("._")[:80]
        name = wanted or f"line_{line.number:05d}"
        if name in taken:
            name = f"{name}_{line.number}"
        taken.add(name)
        names.append(name)
    return names


def _key(line: Line, defaults: Defaults) -> str:
    """Changes when anything that matters to the line's video changes."""
    settings = {k: v for k, v in asdict(defaults).items() if k != "credentials"}
    about = json.dumps([line.values, settings], sort_keys=True, default=str)
    if "audio" in line.values:
        path = line.folder / line.values["audio"]
        if path.is_file():
            about += f"{path.stat().st_size} {path.stat().st_mtime_ns}"
    return hashlib.sha256(about.encode()).hexdigest()[:16]


def _earlier(out: Path) -> dict[str, Result]:
    path = out / "results.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = {f.name for f in fields(Result)}
    if not rows or set(rows[0]) != names:
        return {}
    return {row["id"]: _from_row(row) for row in rows}


def _from_row(row: dict[str, Any]) -> Result:
    numbers = {
        "line": int(row["line"]),
        "duration_s": float(row["duration_s"]),
        "seconds": float(row["seconds"]),
    }
    return Result(**{**row, **numbers})


def _write(out: Path, results: dict[int, Result]) -> None:
    """results.csv, replaced as a whole so that a crash leaves the last good one."""
    handle, part = tempfile.mkstemp(dir=out, suffix=".part")
    with os.fdopen(handle, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Result)])
        writer.writeheader()
        writer.writerows(results[place].as_dict() for place in sorted(results))
    os.chmod(part, 0o644)
    os.replace(part, out / "results.csv")
