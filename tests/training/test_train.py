"""The whole road on the three-second clip: footage -> dataset -> avatar -> figures."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from synctalk.avatar import Avatar
from synctalk.cli import main
from synctalk.commands.train import summary
from synctalk.consent import Consent
from synctalk.errors import AvatarError, TrainingError
from synctalk.portrait.splat import native
from synctalk.training.codebook import CodebookTraining
from synctalk.training.dataset import Dataset
from synctalk.training.framing import cut_out
from synctalk.training.other_parts import other_parts_meanwhile, train_other_parts
from synctalk.training.preprocess import PreprocessSettings, preprocess
from synctalk.training.stages import PortraitTraining
from synctalk.training.torso import TorsoTraining
from synctalk.training.train import TrainSettings, check_name, train_avatar
from synctalk.video import VideoWriter, probe, read_frames

CLIP = Path(__file__).parents[1] / "data" / "ben_3s.mp4"
SIZE = 256
CONSENT = Consent(
    "Ben, a rendered person", "synthetic", "2026-01-01", "Nobody's likeness, free to use.", True
)
TINY = TrainSettings(
    profile="fast",
    preprocess=PreprocessSettings(size=SIZE, insist=True),
    portrait=PortraitTraining(
        canonical_steps=50, deform_steps=50, max_gaussians=2000, validate_every=25, densify_every=25
    ),
    torso=TorsoTraining(minutes=0.05, steps=3),
    codebook=CodebookTraining(steps=3, window=32),
    sheet_frames=2,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `avatar` and `work` of a tiny training. Do not write into it."""
    folder = tmp_path_factory.mktemp("tiny")
    lines: list[str] = []
    train_avatar(CLIP, "tiny", CONSENT, folder / "avatar", folder / "work", TINY, report=lines.append)
    (folder / "lines.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def dataset(place: Path) -> Dataset:
    return Dataset(place / "work" / "dataset")


def test_the_dataset_holds_what_training_reads(dataset: Dataset) -> None:
    frames = len(dataset)
    assert frames == 75
    assert dataset.frames.shape == (frames, SIZE, SIZE, 3) and dataset.mattes.shape == (frames, 3, SIZE, SIZE)
    assert dataset.viewmats.shape == (frames, 4, 4) and dataset.K.shape == (3, 3)
    assert dataset.lips.shape == (frames, 512) and dataset.expressions.shape == (frames, 52)
    assert dataset.landmarks68.shape == (frames, 68, 2) and dataset.silence.shape == (frames,)
    assert dataset.neutral68.shape == (68, 3) and dataset.init_points.shape[1] == 3
    assert dataset.weights.shape == (frames,) and dataset.torso_px.shape == (frames, 2)


def test_the_last_tenth_is_held_out_and_audio_windows_stay_inside(dataset: Dataset) -> None:
    assert dataset.validation.tolist() == list(range(67, 75))
    assert dataset.train.tolist() == list(range(4, 64))
    assert dataset.kept == 67


def test_mattes_nest_face_in_head_in_person(dataset: Dataset) -> None:
    face, head, person = dataset.mattes[10].astype(int)
    assert (face <= head + 1).all()
    areas = [float((matte >= 128).mean()) for matte in (face, head, person)]
    assert 0.02 < areas[0] < areas[1] < areas[2] < 0.9


def test_the_avatar_loads_and_renders_a_frame_like_its_source(place: Path) -> None:
    avatar = Avatar.from_pretrained(place / "avatar")
    assert (avatar.name, avatar.frames, avatar.size) == ("tiny", 67, (SIZE, SIZE))
    assert avatar.synthetic and avatar.torso is not None and avatar.thumbnail is not None
    renderer = avatar.renderer()
    conditions = renderer.conditions(torch.zeros(3, 512), avatar.blendshapes[:3])
    image, alpha = renderer.render(conditions, 1, avatar.viewmats[1])
    assert image.shape == (SIZE, SIZE, 3) and bool(torch.isfinite(image).all())
    head = avatar.mattes(1)[1] >= 128
    assert alpha.numpy()[head].mean() > 0.8 and alpha.numpy()[~head].mean() < 0.1
    x, y, width, height = avatar.crop
    assert avatar.source.frame(1).shape == (512, 512, 3)
    true = cut_out(avatar.source.frame(1), (x, y, x + width, y + height), SIZE)[head] / 255
    assert np.abs(image.numpy()[head] - true).mean() < 0.1


def test_figures_and_report_are_written(place: Path) -> None:
    training = json.loads((place / "avatar" / "avatar.json").read_text())["training"]
    figures = training["evaluation"]
    assert figures["frames"] == 8 and figures["psnr"] > figures["psnr_mouth"] > 10
    assert training["minutes"] > 0 and training["profile"] == "fast"
    page = (place / "avatar" / "report.html").read_text()
    assert "<svg" in page and "report/frames.jpg" in page and "Held-out PSNR by step" in page
    held_out = probe(place / "avatar" / "report" / "heldout.mp4")
    assert (held_out.frames, held_out.has_audio) == (8, True)
    for sheet in ("frames.jpg", "expressions.jpg"):
        assert (place / "avatar" / "report" / sheet).stat().st_size > 1000


def test_a_finished_training_does_nothing_again(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "work", tmp_path / "work")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "work" / "dataset").iterdir()}
    lines: list[str] = []
    train_avatar(CLIP, "tiny", CONSENT, tmp_path / "avatar", tmp_path / "work", TINY, report=lines.append)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "work" / "dataset").iterdir()}
    old = Avatar(place / "avatar").description["sha256"]["portrait.safetensors"]
    assert Avatar(tmp_path / "avatar").description["sha256"]["portrait.safetensors"] == old


def test_restorer_and_codebook_are_trained_beside_the_portrait(place: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "dataset").symlink_to(place / "work" / "dataset")
    with other_parts_meanwhile(work, TINY.torso, TINY.codebook):
        assert torch.get_num_threads() <= max(1, native.default_threads() - 1)
    lines: list[str] = []
    train_other_parts(Dataset(work / "dataset"), work, TINY.torso, TINY.codebook, lines.append)
    assert lines == (
        [] if native.default_threads() > 1 else ["torso restorer trained", "expression codebook trained"]
    )
    for part in ("torso.safetensors", "expression.safetensors"):
        assert (work / part).read_bytes() == (place / "work" / part).read_bytes()


def test_an_interrupted_portrait_takes_its_helper_along(place: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset").symlink_to(place / "work" / "dataset")
    with pytest.raises(KeyboardInterrupt), other_parts_meanwhile(tmp_path, TINY.torso, TINY.codebook):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_a_step_that_is_not_done_is_done_again_and_only_that(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    shutil.copytree(place / "work" / "dataset", folder)
    about = json.loads((folder / "dataset.json").read_text())
    del about["done"]["torso"]
    (folder / "dataset.json").write_text(json.dumps(about))
    (folder / "torso.npz").unlink()
    lines: list[str] = []
    preprocess(CLIP, folder, TINY.preprocess, lines.append)
    assert [line.split(":")[0] for line in lines] == ["torso"]


def test_footage_that_the_preflight_calls_bad_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--anyway") as caught:
        preprocess(CLIP, tmp_path / "dataset", PreprocessSettings(size=SIZE))
    assert "length" in str(caught.value)
    assert (tmp_path / "dataset" / "preflight.html").is_file()


def test_a_dataset_of_other_settings_or_footage_is_not_mixed(place: Path, tmp_path: Path) -> None:
    folder = place / "work" / "dataset"
    with pytest.raises(TrainingError, match="other settings"):
        preprocess(CLIP, folder, replace(TINY.preprocess, held_out=0.2))
    other = tmp_path / "other.mp4"
    other.write_bytes(CLIP.read_bytes() + b"x")
    with pytest.raises(TrainingError, match="another video"):
        preprocess(other, folder, TINY.preprocess)


@pytest.mark.parametrize("part", ["portrait.safetensors", "torso.safetensors", "motion.safetensors"])
def test_a_tensor_missing_from_a_part_is_named_with_its_file(place: Path, tmp_path: Path, part: str) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    from synctalk.avatar_files import seal

    folder = Avatar(place / "avatar").save_pretrained(tmp_path / "broken")
    with safe_open(folder / part, framework="pt") as file:
        names = sorted(file.keys())
        tensors = {name: file.get_tensor(name) for name in names}
        metadata = file.metadata()
    lost = "viewmats" if part.startswith("motion") else names[-1]
    del tensors[lost]
    save_file(tensors, folder / part, metadata)
    seal(folder, json.loads((folder / "avatar.json").read_text()))
    with pytest.raises(AvatarError, match=lost.replace(".", r"\.")) as caught:
        avatar = Avatar(folder)
        avatar.portrait()
        assert avatar.torso is None
    assert part in str(caught.value)


def test_footage_without_sound_or_without_length_is_refused(tmp_path: Path) -> None:
    frames = list(read_frames(CLIP, stop=20))
    with VideoWriter(tmp_path / "mute.mp4", 512, 512) as video:
        for frame in frames:
            video.write(frame)
    with pytest.raises(TrainingError, match="no sound"):
        preprocess(tmp_path / "mute.mp4", tmp_path / "a", TINY.preprocess)
    with VideoWriter(
        tmp_path / "short.mp4", 512, 512, audio=(np.ones(12800, np.float32) * 0.1, 16000)
    ) as video:
        for frame in frames:
            video.write(frame)
    with pytest.raises(TrainingError, match="at least 2 s"):
        preprocess(tmp_path / "short.mp4", tmp_path / "b", TINY.preprocess)


@pytest.mark.parametrize("name", ["", "Ben", "a/b", "../x", "-x", "a" * 41])
def test_names_that_cannot_be_folders_are_refused(name: str) -> None:
    with pytest.raises(TrainingError, match="cannot be a name"):
        check_name(name)


def test_the_command_refuses_to_train_without_consent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["avatar", "consent", "c.json"]) == 0
    assert main(["train", str(CLIP), "--name", "ben", "--consent", "c.json"]) == 1
    assert "'who' is not filled in" in capsys.readouterr().err
    assert not (tmp_path / "ben").exists() and not (tmp_path / "ben.training").exists()


def test_evaluating_on_the_clip_gives_every_figure(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "figures.json"
    phones = str(CLIP.parent / "ben_3s_truth.npz")
    small = tmp_path / "small.mp4"
    _shrink(small)
    options = ["--frames", "40:60", "--json", str(target), "--phones", phones, "--without", "encoder"]
    options += ["--video", str(tmp_path / "pair.mp4")]
    done = main(["evaluate", str(place / "avatar"), "--truth", str(CLIP), *options])
    assert done == 0, capsys.readouterr().err
    figures = json.loads(target.read_text())
    keys = "psnr psnr_head psnr_face psnr_mouth ms_ssim ms_ssim_head lmd_px lmd_static_px mouth_correlation"
    keys += " mouth_lag_frames psnr_eyes eye_correlation flicker_ratio fps niqe brisque labials_shut"
    keys += " true_labials_shut"
    assert set(keys.split()) <= set(figures)
    assert figures["frames"] == 20 and figures["without"] == ["encoder"]
    assert probe(tmp_path / "pair.mp4").frames == 20
    assert main(["evaluate", str(place / "avatar"), "--truth", str(small)]) == 1
    assert "crop must fit" in capsys.readouterr().err


def test_a_voice_alone_is_judged_by_phone_times(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    avatar, phones = str(place / "avatar"), str(CLIP.parent / "ben_3s_truth.npz")
    target = tmp_path / "voice.json"
    options = ["--audio", str(CLIP), "--phones", phones, "--json", str(target)]
    assert main(["evaluate", avatar, *options]) == 0
    figures = json.loads(target.read_text())
    assert figures["labials"] > 0 and 0 <= figures["labials_shut"] <= 1
    assert main(["evaluate", avatar, "--audio", str(CLIP)]) == 1
    assert "one file of --phones for each" in capsys.readouterr().err


def _shrink(path: Path) -> None:
    with VideoWriter(path, 128, 128, audio=(np.ones(48000, np.float32) * 0.1, 16000)) as video:
        for frame in read_frames(CLIP, stop=10):
            video.write(np.ascontiguousarray(frame[::4, ::4]))


def test_the_avatar_command_shows_checks_and_packs(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(place / "avatar")
    assert main(["avatar", "check", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parts"][:4] == ["portrait", "motion", "source", "mattes"]
    assert main(["avatar", "show", folder]) == 0
    assert "synthetic" in capsys.readouterr().out
    target = tmp_path / "tiny.zip"
    assert main(["avatar", "pack", folder, "-o", str(target)]) == 0
    shutil.unpack_archive(target, tmp_path / "unpacked")
    assert Avatar(tmp_path / "unpacked" / "tiny").name == "tiny"
    assert main(["avatar", "pack", folder, "-o", str(target)]) == 1
    assert "already there" in capsys.readouterr().err
    assert main(["avatar", "push", folder, "someone/tiny", "--dry-run"]) == 0
    assert "portrait.safetensors" in capsys.readouterr().out


def test_the_last_line_tells_whether_the_eyes_shut() -> None:
    figures = {"psnr": 43.21, "psnr_mouth": 31.0, "lmd_px": 0.9}
    assert summary(figures) == "Held out: PSNR 43.2 dB, mouth 31.0 dB, LMD 0.90 px"
    assert "eyes shut in 25% of the frames" in summary({**figures, "eyes_shut": 0.25})
