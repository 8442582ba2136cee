import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from synctalk import avatar_files
from synctalk.avatar import Avatar
from synctalk.errors import AvatarError
from synctalk.speech.voice_list import OFFLINE
from synctalk.tensor_file import read_tensors, write_tensors
from synctalk.video import VideoWriter

FRAMES = 60
SIZE = 64
DESCRIPTION = {
    "name": "test",
    "fps": 25,
    "frames": FRAMES,
    "size": [SIZE, SIZE],
    "camera": {"fx": 200.0, "fy": 200.0, "cx": 32.0, "cy": 32.0},
    "licence": {"id": "cc-by-4.0", "text": "Test data."},
    "consent": {
        "who": "nobody",
        "how": "made up",
        "when": "2026-01-01",
        "statement": "No one.",
        "synthetic": True,
    },
    "training": {},
}


def motion(frames: int = FRAMES) -> dict[str, torch.Tensor]:
    return {
        "viewmats": torch.eye(4).repeat(frames, 1, 1),
        "blendshapes": torch.linspace(0, 1, frames)[:, None].repeat(1, 52),
        "crop_boxes": torch.tensor([0, 0, SIZE, SIZE], dtype=torch.int32).repeat(frames, 1),
        "stretches": torch.tensor([[0, 30], [30, frames]], dtype=torch.int32),
        "gauge.neutral68": torch.zeros(68, 3),
    }


def frame(index: int) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), 30 + 3 * index, np.uint8)


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "avatar"
    place.mkdir()
    write_tensors(place / "portrait.safetensors", {"means": torch.zeros(5, 3)})
    write_tensors(place / "motion.safetensors", motion())
    with VideoWriter(place / "source.mp4", SIZE, SIZE, keyframe_every=25, crf=5) as video:
        for i in range(FRAMES):
            video.write(frame(i))
    with VideoWriter(place / "mattes.mp4", 3 * SIZE, SIZE, keyframe_every=25, crf=5) as video:
        for _ in range(FRAMES):
            grey = np.repeat([0, 128, 255], SIZE).astype(np.uint8)
            video.write(np.broadcast_to(grey[None, :, None], (SIZE, 3 * SIZE, 3)).copy())
    avatar_files.seal(place, DESCRIPTION)
    return place


def change(folder: Path, **fields: object) -> None:
    path = folder / "avatar.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def replace_motion(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    write_tensors(folder / "motion.safetensors", tensors)
    avatar_files.seal(folder, DESCRIPTION)


def test_a_sealed_folder_loads_with_what_was_put_in(folder: Path) -> None:
    avatar = Avatar.from_pretrained(folder)
    assert (avatar.name, avatar.fps, avatar.frames, avatar.size) == ("test", 25.0, FRAMES, (SIZE, SIZE))
    assert avatar.K.tolist() == [[200, 0, 32], [0, 200, 32], [0, 0, 1]]
    assert avatar.viewmats.shape == (FRAMES, 4, 4) and avatar.blendshapes.shape == (FRAMES, 52)
    assert avatar.stretches == [(0, 30), (30, FRAMES)] and avatar.crop == (0, 0, SIZE, SIZE)
    assert avatar.gauge["neutral68"].shape == (68, 3)
    assert avatar.torso_px is None and avatar.torso is None and avatar.expression is None
    assert avatar.synthetic and avatar.consent["who"] == "nobody"


def test_source_frames_come_in_any_order_and_mattes_are_split(folder: Path) -> None:
    avatar = Avatar(folder)
    for index in (59, 58, 30, 0, 29, 24, 25):
        assert abs(avatar.source.frame(index).astype(int) - frame(index)).max() <= 4
    means = avatar.mattes(40).reshape(3, -1).mean(axis=1)
    assert avatar.mattes(40).shape == (3, SIZE, SIZE)
    assert np.abs(means - [0, 128, 255]).max() < 4


def test_slider_limits_are_rest_and_reach_of_the_source(folder: Path) -> None:
    rest, reach = Avatar(folder).expression_limits()
    assert torch.allclose(rest, torch.full((52,), 0.1), atol=0.01)
    assert torch.allclose(reach, torch.full((52,), 0.98), atol=0.01)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"format": 99}, "field 'format'"),
        ({"fps": "fast"}, "field 'fps'"),
        ({"frames": 0}, "field 'frames'"),
        ({"size": [512]}, "field 'size'"),
        ({"camera": {"fx": 1}}, "field 'camera'"),
        ({"licence": "mine"}, "field 'licence'"),
        ({"consent": {"who": "me"}}, "field 'consent.how'"),
        ({"sha256": {}}, "portrait.safetensors"),
    ],
)
def test_a_wrong_field_is_named(folder: Path, fields: dict[str, object], named: str) -> None:
    change(folder, **fields)
    with pytest.raises(AvatarError, match=named) as caught:
        Avatar(folder)
    assert "avatar.json" in str(caught.value)


def test_an_avatar_may_state_its_voice_and_what_this_version_does_not_know(folder: Path) -> None:
    assert Avatar(folder).voice is None
    change(folder, voice="af_heart", mood="cheerful")
    assert Avatar(folder).voice == "af_heart"
    change(folder, voice=7)
    with pytest.raises(AvatarError, match="field 'voice'"):
        Avatar(folder)


def test_the_bundled_avatars_have_voices_that_exist() -> None:
    for name in Avatar.available():
        voice = Avatar.from_pretrained(name, verify=False).voice
        assert voice is None or voice in {known.name for known in OFFLINE}


@pytest.mark.parametrize("name", avatar_files.REQUIRED_FILES)
def test_a_missing_or_changed_file_is_named(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(AvatarError, match=f"{name}.*checksum"):
        Avatar(folder)
    (folder / name).unlink()
    with pytest.raises(AvatarError, match=f"{name} is missing"):
        Avatar(folder)


def test_a_file_that_is_not_listed_is_refused(folder: Path) -> None:
    write_tensors(folder / "torso.safetensors", {"w": torch.zeros(1)})
    with pytest.raises(AvatarError, match=r"does not list torso\.safetensors"):
        Avatar(folder)


@pytest.mark.parametrize(
    ("tensor", "value", "said"),
    [
        ("viewmats", None, "'viewmats' is missing"),
        ("viewmats", torch.zeros(FRAMES, 3, 4), "'viewmats' has shape"),
        ("viewmats", torch.zeros(FRAMES, 4, 4), "rigid poses"),
        ("blendshapes", torch.zeros(FRAMES - 1, 52), "'blendshapes' has shape"),
        ("blendshapes", torch.full((FRAMES, 52), torch.nan), "'blendshapes' holds NaN"),
        ("stretches", torch.tensor([[0, 10], [12, FRAMES]]), "'stretches' does not cover"),
        ("torso_px", torch.zeros(3, 2), "'torso_px'"),
    ],
)
def test_a_wrong_motion_tensor_is_named(
    folder: Path, tensor: str, value: torch.Tensor | None, said: str
) -> None:
    tensors = motion()
    if value is None:
        del tensors[tensor]
    else:
        tensors[tensor] = value
    replace_motion(folder, tensors)
    with pytest.raises(AvatarError, match=said) as caught:
        Avatar(folder)
    assert "motion.safetensors" in str(caught.value)


def test_a_video_of_another_length_is_refused(folder: Path) -> None:
    replace_motion(folder, motion())
    with VideoWriter(folder / "source.mp4", SIZE, SIZE, keyframe_every=25) as video:
        video.write(frame(0))
    avatar_files.seal(folder, DESCRIPTION)
    with pytest.raises(AvatarError, match=r"source\.mp4 has 1 frames.*'frames'"):
        _ = Avatar(folder).source


def test_text_in_place_of_tensors_is_called_damaged(folder: Path) -> None:
    (folder / "motion.safetensors").write_text("not tensors")
    avatar_files.seal(folder, DESCRIPTION)
    with pytest.raises(AvatarError, match=r"motion\.safetensors is damaged"):
        Avatar(folder)


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(AvatarError, match="There is no avatar 'nobody'"):
        Avatar.from_pretrained("nobody")


def test_bundled_avatars_are_found_by_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = tmp_path / "assets"
    (assets / "avatars").mkdir(parents=True)
    folder.rename(assets / "avatars" / "test")
    monkeypatch.setenv("SYNCTALK_ASSETS", str(assets))
    assert Avatar.available() == ["test"]
    assert Avatar.from_pretrained("test").name == "test"


def test_a_hub_id_is_downloaded_at_its_revision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def snapshot(repo_id: str, *, revision: str | None, **_: object) -> str:
        asked.append((repo_id, revision))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert Avatar.from_pretrained("someone/test", revision="v2").name == "test"
    assert asked == [("someone/test", "v2")]


def test_a_hub_that_cannot_be_reached_is_told_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(*_: object, **__: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(AvatarError, match="someone/test cannot be had from the hub: no network"):
        Avatar.from_pretrained("someone/test")


def test_saving_copies_a_loadable_folder_and_never_overwrites(folder: Path, tmp_path: Path) -> None:
    copy = Avatar(folder).save_pretrained(tmp_path / "copy")
    assert Avatar(copy).description == Avatar(folder).description
    assert (copy / "README.md").read_text().startswith("---\nlibrary_name: synctalk")
    with pytest.raises(AvatarError, match="not empty"):
        Avatar(folder).save_pretrained(copy)


class FakeHub:
    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, object]]] = []

    def create_repo(self, repo_id: str, **options: object) -> None:
        self.calls.append(("create_repo", {"repo_id": repo_id, **options}))

    def upload_folder(self, **options: object) -> SimpleNamespace:
        self.calls.append(("upload_folder", options))
        return SimpleNamespace(commit_url="https://hub/someone/test/commit/1")


def test_a_dry_run_lists_the_files_and_sends_nothing(folder: Path) -> None:
    hub = FakeHub()
    (folder / "notes.txt").write_text("private")
    names = Avatar(folder).push_to_hub("someone/test", dry_run=True, api=hub)
    assert set(names) == {"avatar.json", "README.md", *avatar_files.REQUIRED_FILES}
    assert hub.calls == []


def test_pushing_makes_a_private_repository_and_sends_only_the_avatar(folder: Path) -> None:
    hub = FakeHub()
    (folder / "notes.txt").write_text("private")
    url = Avatar(folder).push_to_hub("someone/test", revision="main", api=hub)
    assert url == "https://hub/someone/test/commit/1"
    (_, made), (_, sent) = hub.calls
    assert made["private"] is True and made["exist_ok"] is True
    assert sent["revision"] == "main" and "notes.txt" not in sent["allow_patterns"]


def test_pushing_checks_the_id_and_the_files_first(folder: Path) -> None:
    avatar = Avatar(folder)
    with pytest.raises(AvatarError, match="owner/name"):
        avatar.push_to_hub("test", api=FakeHub())
    (folder / "source.mp4").write_bytes(b"changed")
    with pytest.raises(AvatarError, match="checksum"):
        avatar.push_to_hub("someone/test", api=FakeHub())


def test_the_card_tells_consent_and_that_the_person_is_synthetic(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    assert "does not exist" in card and "- **who**: nobody" in card and "license: cc-by-4.0" in card


def test_tensor_files_keep_their_settings(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", {"x": torch.ones(2)}, {"width": 3, "names": ["a"]})
    tensors, settings = read_tensors(tmp_path / "a.safetensors", {"x": (None,)})
    assert settings == {"width": 3, "names": ["a"]} and tensors["x"].tolist() == [1, 1]
