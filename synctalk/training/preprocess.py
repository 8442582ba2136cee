"""Footage -> dataset folder, step by step; finished steps are skipped, so an interrupted run goes on.

plan (preflight, crop, stretches) -> frames -> face -> audio -> mattes -> torso -> track
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synctalk.assets import model_path
from synctalk.avatar import Avatar
from synctalk.avatar_files import sha256
from synctalk.errors import TrainingError
from synctalk.face_sync.audio_visual_encoder import AudioVisualEncoder
from synctalk.face_sync.capturer import FaceCapturer
from synctalk.head_sync.parsing import Parser
from synctalk.head_sync.track import Track, track_head
from synctalk.logs import progress
from synctalk.speech.audio import load_audio
from synctalk.speech.voice_activity import speech_mask
from synctalk.training.dataset import Dataset
from synctalk.training.frame_store import FrameStoreWriter
from synctalk.training.framing import choose_crop, cut_out, head_angles, lip_gap
from synctalk.training.head_gauge import from_tensors
from synctalk.training.preflight import preflight
from synctalk.training.scan import scan_of
from synctalk.training.select import Selection, select_stretches
from synctalk.training.torso_motion import torso_motion
from synctalk.video import probe, read_frames

FPS = 25.0
USUAL_FACE_FRAMES = 300
"""Frames of an avatar's source that tell its usual face: the median of so many is exact to a tenth of what
expressions vary."""
Report = Callable[[str], None]


@dataclass(frozen=True)
class PreprocessSettings:
    """What becomes of the footage."""

    size: int = 512
    """Side of the frames that are trained on, px."""
    held_out: float = 0.1
    """Share of the footage, at its end, that is never trained on."""
    selection: Selection | None = None
    """Keep only the most informative seconds; None keeps everything."""
    validation_s: float | None = None
    """Seconds of the held-out end to prepare (its beginning); None prepares all of it."""
    insist: bool = False
    """Go on although the preflight finds something bad."""


def fast(seconds: float = 125) -> PreprocessSettings:
    """The fast profile: the most informative two minutes, four held-out seconds."""
    return PreprocessSettings(selection=Selection(seconds=seconds), validation_s=4.0)


def preprocess(
    video: Path | str, folder: Path | str, settings: PreprocessSettings, report: Report = print
) -> Dataset:
    """Prepares a dataset folder from a video of one person who speaks.

    Args:
        video: any file ffmpeg reads, with sound.
        folder: made if needed; a folder begun with the same video and settings is continued.
        settings: see there.
        report: takes one line per step.

    Raises:
        TrainingError: no sound, hardly a face, or the folder belongs to other footage or settings.
        VideoError, AudioError: the video cannot be read.
    """
    return _run(
        Path(video),
        Path(folder),
        _what_matters(settings),
        lambda path: _plan(path, settings, Path(folder)),
        None,
        report,
    )


def _what_matters(settings: PreprocessSettings) -> dict[str, Any]:
    """The settings that change the dataset."""
    return {key: value for key, value in asdict(settings).items() if key != "insist"}


def prepare_truth(
    video: Path | str,
    folder: Path | str,
    avatar: Avatar,
    frames: tuple[int, int | None] = (0, None),
    report: Report = print,
) -> Dataset:
    """Measures another video of an avatar's person, in the avatar's own crop and canonical frame.

    Args:
        video: the truth, framed as the footage the avatar was made from.
        folder: where the measurements go; continued if begun.
        avatar: gives crop, size, camera, identity and keypoints, which stay fixed.
        frames: first and last + 1 frame at 25 fps.

    Raises:
        TrainingError, VideoError, AudioError: as `preprocess`; also a frame size other than the avatar's.
    """

    def plan(path: Path) -> dict[str, Any]:
        info = probe(path)
        source = avatar.source
        if (info.width, info.height) != (source.width, source.height):
            raise TrainingError(
                f"{path} is {info.width}x{info.height}; {avatar.name} was made from "
                f"{source.width}x{source.height}, and the crop must fit."
            )
        total = sum(1 for _ in read_frames(path))
        start, stop = frames[0], total if frames[1] is None else min(frames[1], total)
        if stop - start < 2:
            raise TrainingError(
                f"{path} has {total} frames at 25 fps; {start} to {stop} leaves nothing to measure."
            )
        x, y, width, height = avatar.crop
        crop = [x, y, x + width, y + height]
        return {"crop": crop, "stretches": [[start, stop]], "first_validation": start, "video_frames": total}

    wanted = {"size": avatar.size[0], "frames": list(frames), "avatar": avatar.description["sha256"]}
    return _run(Path(video), Path(folder), wanted, plan, avatar, report)


def avatar_track(avatar: Avatar) -> Track:
    """The avatar's camera, identity and keypoints, for tracking other videos like it."""
    return from_tensors(avatar.gauge, str(avatar.folder / "motion.safetensors"))


def _run(
    video: Path,
    folder: Path,
    settings: Mapping[str, Any],
    plan: Callable[[Path], dict[str, Any]],
    like: Avatar | None,
    report: Report,
) -> Dataset:
    """All steps that are not done yet; `like` is whose face the video shows, if it is known."""
    if not probe(video).has_audio:
        raise TrainingError(
            f"{video} has no sound. The lips are learnt from the voice: give a video with it."
        )
    folder.mkdir(parents=True, exist_ok=True)
    about = _begin(video, folder, settings)
    if "stretches" not in about:
        start, worked = time.monotonic(), time.process_time()
        about |= plan(video)
        _clock(about, "plan", start, worked)
        _save(folder, about)
        report(f"plan: {_seconds(about['stretches']):.0f} s of video ({about['seconds']['plan']:.0f} s)")
    dataset = Dataset(folder)
    steps: list[tuple[str, str, Callable[[], None]]] = [
        ("frames", "1", lambda: _frames(video, dataset)),
        ("face", "1" if like is None else "like the avatar", lambda: _face(dataset, like)),
        ("audio", _encoder_key(), lambda: _audio(video, dataset)),
        ("mattes", "1", lambda: _mattes(dataset)),
        ("torso", "1", lambda: _torso(dataset)),
        ("track", "1", lambda: _track(dataset, None if like is None else avatar_track(like))),
    ]
    for name, key, make in steps:
        if about["done"].get(name) == key:
            continue
        start, worked = time.monotonic(), time.process_time()
        make()
        about["done"][name] = key
        _clock(about, name, start, worked)
        _save(folder, about)
        report(f"{name}: {about['seconds'][name]:.0f} s")
    return Dataset(folder)


def _clock(about: dict[str, Any], step: str, start: float, worked: float) -> None:
    """Notes how long a step took, by the clock and in the processor (all threads of this process)."""
    about["seconds"][step] = round(time.monotonic() - start, 1)
    about.setdefault("processor_seconds", {})[step] = round(time.process_time() - worked, 1)


def _begin(video: Path, folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The folder's record, new or as it was left."""
    fresh: dict[str, Any] = {"video_sha256": sha256(video), "settings": json.loads(json.dumps(settings))}
    path = folder / "dataset.json"
    if not path.exists():
        size = int(settings["size"])
        return {**fresh, "video": str(video.resolve()), "size": size, "done": {}, "seconds": {}}
    about = json.loads(path.read_text(encoding="utf-8"))
    for key, what in (("video_sha256", "another video"), ("settings", "other settings")):
        if about[key] != fresh[key]:
            raise TrainingError(
                f"{folder} was begun with {what}. Delete the folder to start again, or give another one."
            )
    return {**about, "video": str(video.resolve())}


def _save(folder: Path, about: dict[str, Any]) -> None:
    partial = folder / "dataset.json.part"
    partial.write_text(json.dumps(about, indent=1), encoding="utf-8")
    partial.replace(folder / "dataset.json")


def _write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    partial = path.with_suffix(".part.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def _seconds(stretches: list[list[int]]) -> float:
    return sum(stop - start for start, stop in stretches) / FPS


def _plan(video: Path, settings: PreprocessSettings, folder: Path) -> dict[str, Any]:
    """Preflight; crop, stretches and where the held-out part begins."""
    check = preflight(video)
    check.save_page(folder / "preflight.html")
    if not check.ok and not settings.insist:
        advice = "\n".join(f"- {line}" for line in check.advice)
        raise TrainingError(f"{video}: {check.verdict}\n{advice}\nGive --anyway to train on it all the same.")
    if check.picture.frames < 2 * FPS:
        seconds = check.picture.frames / FPS
        raise TrainingError(f"{video} lasts {seconds:.1f} s; at least 2 s are needed, better minutes.")
    scan = scan_of(check.picture)
    first_validation = scan.frames - max(1, round(scan.frames * settings.held_out))
    chosen = [(0, first_validation)]
    if settings.selection is not None:
        rows = first_validation // scan.stride
        features = _encode(video, scan.frames, folder)[: rows * scan.stride]
        spread = np.repeat(np.arange(rows), scan.stride)
        chosen = select_stretches(
            features,
            lip_gap(scan.landmarks478)[spread],
            head_angles(scan.landmarks478)[spread],
            settings.selection,
            FPS,
        )
    last = scan.frames
    if settings.validation_s is not None:
        last = min(last, first_validation + round(settings.validation_s * FPS))
    return {
        "crop": choose_crop(scan.landmarks478, probe(video)),
        "stretches": [*map(list, chosen), [first_validation, last]],
        "first_validation": first_validation,
        "video_frames": scan.frames,
    }


def _encode(video: Path, frames: int, folder: Path) -> NDArray[np.float32]:
    """Audio features [frames,512] of the whole soundtrack, kept as long as the encoder is the same."""
    path = folder / f"lips-{_encoder_key()[:12]}.npy"
    if path.is_file():
        return np.load(path, allow_pickle=False)
    features = AudioVisualEncoder.from_pretrained().encode(load_audio(video)).numpy()
    fitted = _fitted(features.astype(np.float32), frames)
    np.save(path, fitted)
    return fitted


def _encoder_key() -> str:
    """Changes with the encoder's weights."""
    return sha256(model_path("audio_visual_encoder.safetensors"))


def _fitted(values: NDArray[Any], frames: int) -> NDArray[Any]:
    """Cut or padded (with the last row) to `frames` rows: sound and picture rarely end together."""
    if len(values) >= frames:
        return values[:frames]
    return np.concatenate([values, np.repeat(values[-1:], frames - len(values), axis=0)])


def _frames(video: Path, dataset: Dataset) -> None:
    size = dataset.size
    with FrameStoreWriter(dataset.folder / "frames.bin", (size, size, 3)) as store:
        done = store.count
        for (start, stop), (first, _) in zip(dataset.video_stretches, dataset.stretches, strict=True):
            skip = max(0, done - first)
            if start + skip >= stop:
                continue
            for frame in read_frames(video, FPS, start + skip, stop):
                store.append(cut_out(frame, dataset.crop, size))
        if store.count != len(dataset):
            raise TrainingError(f"{video} gave {store.count} frames where {len(dataset)} were expected.")


def _face(dataset: Dataset, like: Avatar | None) -> None:
    frames = progress(dataset.frames, total=len(dataset), label="face")
    track = FaceCapturer().capture(frames, None if like is None else varied_frames(like))
    missing = int(track.missing.sum())
    if missing > 0.2 * len(dataset):
        raise TrainingError(
            f"No face in {missing} of {len(dataset)} frames. Run `synctalk check` on the video."
        )
    full = track.filled()
    _write_arrays(
        dataset.folder / "face.npz",
        landmarks478=full.landmarks478,
        landmarks68=full.landmarks68,
        blendshapes=full.blendshapes.clip(0, 1),
        confidence=full.confidence,
    )


def varied_frames(avatar: Avatar) -> Iterator[NDArray[np.uint8]]:
    """Crops [h,w,3] from all over an avatar's source, in order."""
    x, y, width, height = avatar.crop
    count = len(avatar.blendshapes)
    for index in np.linspace(0, count - 1, min(USUAL_FACE_FRAMES, count)).astype(int):
        yield np.ascontiguousarray(avatar.source.frame(int(index))[y : y + height, x : x + width])


def _audio(video: Path, dataset: Dataset) -> None:
    total = int(dataset.about["video_frames"])
    speaking = _fitted(np.asarray(speech_mask(load_audio(video))), total)
    rows = dataset.source_index
    _write_arrays(
        dataset.folder / "audio.npz",
        lips=_encode(video, total, dataset.folder)[rows],
        silence=~speaking[rows],
    )


def face_head_person(mattes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Parsing [5,H,W] (background, hair, face, neck, clothes) -> uint8 [3,H,W] face, head, person."""
    background, hair, face = mattes[:3]
    stacked = np.stack([face, face + hair, 1 - background])
    return np.rint(stacked.clip(0, 1) * 255).astype(np.uint8)


def _mattes(dataset: Dataset) -> None:
    frames = dataset.frames
    with FrameStoreWriter(dataset.folder / "mattes.bin", (3, dataset.size, dataset.size), True) as store:
        parser = Parser()
        for index in progress(range(store.count, len(frames)), label="mattes"):
            store.append(face_head_person(parser.mattes(frames[index])))


def _torso(dataset: Dataset) -> None:
    def pairs() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        for frame, (_, head, person) in zip(dataset.frames, dataset.mattes, strict=True):
            yield frame, np.where(head < 64, person, 0).astype(np.uint8)

    _write_arrays(dataset.folder / "torso.npz", torso_px=torso_motion(pairs()))


def _show(bar: Any, step: str, done: int, total: int) -> None:
    """Moves a progress bar to the tracker's own step."""
    bar.set_description(step, refresh=False)
    bar.total, bar.n = total, done
    bar.refresh()


def _track(dataset: Dataset, like: Track | None) -> None:
    part = dataset.folder / "followed.npz"
    followed = None
    if part.is_file():
        kept = dataset.arrays("followed")
        followed = (kept["pixels"], kept["rows"])
    landmarks = np.where(dataset.confidence[:, None, None] > 0, dataset.landmarks478, np.nan)
    bar = progress(total=len(dataset), label="track")
    track = track_head(
        lambda start: (dataset.frames[i] for i in range(start, len(dataset))),
        landmarks,
        like,
        followed=followed,
        keep=lambda pixels, rows: _write_arrays(part, pixels=pixels, rows=rows),
        report=lambda step, done, total: _show(bar, step, done, total),
    )
    bar.close()
    partial = dataset.folder / "track.part.npz"
    track.save(partial)
    partial.replace(dataset.folder / "track.npz")
    part.unlink(missing_ok=True)
