import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from synctalk.cli import main
from synctalk.errors import TrainingError, VideoError
from synctalk.speech.audio import load_audio
from synctalk.training.preflight import Preflight, preflight
from synctalk.training.preflight_measures import Camera, find_cuts, head_degrees, mouth_shapes, sharpness
from synctalk.video import VideoWriter, read_frames

CLIP = Path(__file__).parents[1] / "data" / "ben_3s.mp4"


@pytest.fixture(scope="module")
def clean() -> Preflight:
    return preflight(CLIP, threads=1)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Preflight:
    """The clip out of focus, with a cut after 1 s, its sound 200 ms late and in noise."""
    path = tmp_path_factory.mktemp("damaged") / "damaged.mp4"
    sound = np.concatenate([np.zeros(3200, np.float32), load_audio(CLIP)])
    sound += np.random.default_rng(0).normal(0, 0.02, len(sound)).astype(np.float32)
    with VideoWriter(path, 512, 512, audio=(sound, 16000)) as writer:
        for i, frame in enumerate(read_frames(CLIP)):
            soft = cv2.GaussianBlur(frame, (0, 0), 3)
            writer.write((soft * 0.5 + (0 if i < 25 else 60)).astype(np.uint8))
    return preflight(path, threads=1)


def states(report: Preflight) -> dict[str, str]:
    return {finding.name: finding.state for finding in report.findings}


def test_a_clean_clip_is_only_too_short(clean: Preflight) -> None:
    found = states(clean)
    assert {name for name, state in found.items() if state == "bad"} == {"length"}
    assert not clean.ok and clean.verdict.startswith("Not yet: length")
    for name in ("one face", "face size", "sharpness", "exposure", "cuts", "noise", "lip sync", "camera"):
        assert found[name] == "good", name


def test_what_is_wrong_is_found_and_advised_on(damaged: Preflight) -> None:
    found = states(damaged)
    for name in ("sharpness", "cuts", "noise", "lip sync"):
        assert found[name] != "good", name
    assert damaged.values["cuts_s"] == [1.0]
    assert damaged.values["sync_offset_frames"] == 5
    assert any("-200 ms" in line for line in damaged.advice)
    assert len(damaged.advice) == len([state for state in found.values() if state != "good"])


def test_the_text_names_each_finding_and_the_verdict(clean: Preflight) -> None:
    text = "\n".join(clean.lines)
    assert all(finding.name in text and finding.value in text for finding in clean.findings)
    assert clean.verdict in text


def test_the_page_holds_everything_in_one_file(damaged: Preflight, tmp_path: Path) -> None:
    damaged.save_page(tmp_path / "sub" / "page.html")
    page = (tmp_path / "sub" / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 6
    assert "<svg" in page and "http" not in page and "<script" not in page
    assert ">nan" not in page and ",nan" not in page


def test_a_page_that_cannot_be_written_is_an_error(clean: Preflight, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot be written"):
        clean.save_page(tmp_path / "file" / "page.html")


def test_a_silent_video_without_a_face_is_a_report_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "grey.mp4"
    with VideoWriter(path, 160, 120) as writer:
        for _ in range(10):
            writer.write(np.full((120, 160, 3), 90, np.uint8))
    report = preflight(path, threads=1)
    found = states(report)
    assert found["one face"] == found["sound"] == "bad"
    assert report.sync is None
    report.save_page(tmp_path / "page.html")


def test_the_command_prints_the_report_and_says_by_its_exit_code_whether_it_is_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    page, numbers = tmp_path / "page.html", tmp_path / "numbers.json"
    code = main(["check", str(CLIP), "-o", str(page), "--json", str(numbers), "--threads", "1"])
    assert code == 3
    assert "Not yet: length" in capsys.readouterr().out
    assert page.exists()
    assert json.loads(numbers.read_text())["values"]["width"] == 512


def test_a_file_that_is_no_video_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(VideoError):
        preflight(tmp_path / "text.mp4")


def test_head_angles_follow_the_truth(clean: Preflight) -> None:
    with np.load(CLIP.with_name("ben_3s_truth.npz")) as file:
        truth = file["head_rot_deg"][::5, :2]
    measured = head_degrees(clean.picture.landmarks478)
    assert np.corrcoef(measured[:, 0], truth[:, 0])[0, 1] > 0.95
    assert np.abs((measured - truth).mean(0)).max() < 3
    assert np.abs(measured - truth).max() < 5


def test_a_cut_stands_out_from_the_motion_around_it() -> None:
    steps = np.full(100, 2.0)
    steps[40] = 50
    assert find_cuts(steps) == [41]
    assert find_cuts(np.full(100, 20.0)) == []
    assert find_cuts(np.zeros(0)) == []


def test_blur_lowers_sharpness_and_size_does_not() -> None:
    grey = np.random.default_rng(0).integers(0, 255, (320, 320), dtype=np.uint8)
    grey = cv2.GaussianBlur(grey, (0, 0), 1.5)
    assert sharpness(cv2.GaussianBlur(grey, (0, 0), 6)) < 0.6 * sharpness(grey)
    assert sharpness(np.full((50, 50), 7, np.uint8)) <= 1


def test_the_cameras_movement_is_measured_on_a_textured_background_only() -> None:
    texture = np.random.default_rng(1).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    scene = cv2.resize(texture, (640, 480), interpolation=cv2.INTER_CUBIC)
    camera = Camera()
    assert camera.moved(scene) == pytest.approx(0, abs=0.1)
    assert camera.moved(np.roll(scene, 6, axis=1)) == pytest.approx(6, abs=1)
    assert np.isnan(Camera().moved(np.full((480, 640, 3), 80, np.uint8)))


def test_mouth_shapes_count_what_occurs() -> None:
    mesh = np.zeros((3, 478, 3), np.float32)
    mesh[:, 33, 0], mesh[:, 263, 0] = 0, 100
    mesh[:, 61, 0], mesh[:, 291, 0] = 20, 70
    mesh[:, 14, 1] = [0, 0, 12]
    assert mouth_shapes(mesh) == 2
    assert mouth_shapes(mesh[:0]) == 0
