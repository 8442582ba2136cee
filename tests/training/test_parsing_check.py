from pathlib import Path

import numpy as np
import pytest

from synctalk.errors import TrainingError
from synctalk.head_sync.parsing import LABELS
from synctalk.training.parsing_check import agreement, main

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    (tmp_path / "ben.mp4").symlink_to(DATA / "ben_3s.mp4")
    with np.load(DATA / "ben_3s_truth.npz") as truth:
        kept = {name: truth[name] for name in ("labels", "label_frames", "label_names")}
    np.savez(tmp_path / "ben_labels.npz", **kept)
    return tmp_path


def test_agreement_is_reported_per_label(footage: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(footage), "--seconds", "0.5"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:5] == list(LABELS)
    name, *numbers = row.split()
    assert name == "ben"
    assert all(float(value) > 0.75 for value in numbers[:5])


def test_other_label_names_are_refused(footage: Path) -> None:
    labels = footage / "ben_labels.npz"
    np.savez(labels, labels=np.zeros((1, 4, 4)), label_frames=[0], label_names=["sky"])
    with pytest.raises(TrainingError, match="label_names"):
        agreement(footage / "ben.mp4", labels)


def test_labels_of_other_frames_are_refused(footage: Path) -> None:
    labels = footage / "ben_labels.npz"
    np.savez(labels, labels=np.zeros((1, 512, 512), np.uint8), label_frames=[70], label_names=list(LABELS))
    with pytest.raises(TrainingError, match="no label"):
        agreement(footage / "ben.mp4", labels, seconds=0.2)
