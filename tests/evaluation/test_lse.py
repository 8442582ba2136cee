"""LSE-C/D through the user's own SyncNet: a stand-in package shows what is asked of it."""

import sys
import types

import pytest

from synctalk.errors import SyncTalkError, VideoError
from synctalk.evaluation.lse import LipSyncError, lip_sync_error


@pytest.fixture
def weights(tmp_path):
    for name in ("sfd_face.pth", "syncnet_v2.model"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def _package(answer: tuple) -> types.ModuleType:
    module = types.ModuleType("syncnet_python")

    class SyncNetPipeline:
        def __init__(self, settings: dict, device: str) -> None:
            assert settings["syncnet_weights"].endswith("syncnet_v2.model") and device == "cpu"

        def inference(self, video_path: str, audio_path: str | None) -> tuple:
            return answer

    module.SyncNetPipeline = SyncNetPipeline  # type: ignore[attr-defined]
    return module


def test_the_surest_face_track_counts(weights, monkeypatch) -> None:
    answer = ([0, 2], [4.5, 7.1], [9.0, 6.8], 7.1, 6.8, "[]", True)
    monkeypatch.setitem(sys.modules, "syncnet_python", _package(answer))
    assert lip_sync_error("clip.mp4", weights) == LipSyncError(7.1, 6.8, 2)


def test_no_face_is_said(weights, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "syncnet_python", _package(([], [], [], 0.0, 0.0, "[]", False)))
    with pytest.raises(VideoError, match="no face track"):
        lip_sync_error("clip.mp4", weights)


def test_missing_weights_are_named(tmp_path) -> None:
    with pytest.raises(SyncTalkError, match=r"sfd_face\.pth and syncnet_v2\.model"):
        lip_sync_error("clip.mp4", tmp_path)


def test_a_missing_package_is_said(weights, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "syncnet_python", None)
    with pytest.raises(SyncTalkError, match="pip install syncnet-python"):
        lip_sync_error("clip.mp4", weights)
