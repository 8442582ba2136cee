import csv
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synctalk.cli import main
from synctalk.errors import SyncTalkError
from synctalk.speaking.batch import Defaults, read_lines, run_batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a one-second recording beside the list."""
    place = tmp_path_factory.mktemp("batch")
    samples = (0.3 * np.sin(np.arange(16000) * 0.06) * 32767).astype("<i2")
    with wave.open(str(place / "hum.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    return place


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_and_jsonl_say_the_same(folder):
    table = write(folder, "a.csv", "id,audio,smile\nfirst,hum.wav,0.5\nsecond,hum.wav,\n")
    objects = write(
        folder,
        "a.jsonl",
        '{"id": "first", "audio": "hum.wav", "smile": 0.5}\n\n{"id": "second", "audio": "hum.wav"}\n',
    )
    assert [line.values for line in read_lines(table)] == [line.values for line in read_lines(objects)]


def test_a_text_with_commas_quotes_and_line_breaks_is_one_line(folder):
    table = write(folder, "q.csv", 'id,text\na,"Hello, ""you"".\nHow are you?"\nb,Fine.\n')
    lines = read_lines(table)
    assert [line.values["text"] for line in lines] == ['Hello, "you".\nHow are you?', "Fine."]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", "name,words\na,b\n", "'text' or 'audio'"),
        ("x.csv", "id,text\n", "holds no lines"),
        ("x.jsonl", "\n", "holds no lines"),
    ],
)
def test_lists_that_cannot_be_read_are_told(folder, name, content, said):
    with pytest.raises(SyncTalkError, match=said):
        read_lines(write(folder, name, content))


def test_one_bad_line_does_not_stop_the_rest(folder, tiny_folder, tmp_path):
    table = write(
        folder,
        "mixed.csv",
        "id,audio,smile,avatar\n"
        "good,hum.wav,0.5,\n"
        "gone,nowhere.wav,,\n"
        "wild,hum.wav,7,\n"
        "who,hum.wav,,nobody\n"
        "good,hum.wav,,\n",
    )
    results = run_batch(read_lines(table), tmp_path, Defaults(avatar=str(tiny_folder)))
    assert [r.status for r in results] == ["done", "failed", "failed", "failed", "done"]
    assert [r.id for r in results] == ["good", "gone", "wild", "who", "good_6"]
    assert "nowhere.wav" in results[1].error and "smile" in results[2].error and "nobody" in results[3].error
    assert (tmp_path / "good.mp4").is_file() and (tmp_path / "good_6.mp4").is_file()
    assert [row["status"] for row in rows(tmp_path)] == [r.status for r in results]


def test_a_second_run_makes_only_what_is_missing_or_changed(folder, tiny_folder, tmp_path):
    defaults = Defaults(avatar=str(tiny_folder))
    table = write(folder, "again.csv", "id,audio\na,hum.wav\nb,hum.wav\n")
    run_batch(read_lines(table), tmp_path, defaults)
    made = (tmp_path / "a.mp4").stat().st_mtime_ns
    (tmp_path / "b.mp4").unlink()
    table = write(folder, "again.csv", "id,audio,smile\na,hum.wav,\nb,hum.wav,\nc,hum.wav,1\n")
    results = run_batch(read_lines(table), tmp_path, defaults)
    assert [r.status for r in results] == ["kept", "done", "done"]
    assert (tmp_path / "a.mp4").stat().st_mtime_ns == made
    changed = Defaults(avatar=str(tiny_folder), seed=5)
    assert [r.status for r in run_batch(read_lines(table)[:1], tmp_path, changed)] == ["done"]


def test_two_workers_give_the_same_videos_as_one(folder, tiny_folder, tmp_path):
    table = write(folder, "two.csv", "id,audio\na,hum.wav\nb,hum.wav\n")
    defaults = Defaults(avatar=str(tiny_folder))
    one = run_batch(read_lines(table), tmp_path / "one", defaults)
    two = run_batch(read_lines(table), tmp_path / "two", defaults, workers=2)
    assert [r.status for r in two] == ["done", "done"]
    assert [(r.id, r.duration_s) for r in one] == [(r.id, r.duration_s) for r in two]


def test_the_command_counts_and_tells_failures_by_its_exit_code(folder, tiny_folder, tmp_path, capsys):
    table = write(folder, "c.csv", "id,audio\na,hum.wav\nb,gone.wav\n")
    command = ["batch", str(table), "--out", str(tmp_path), "--avatar", str(tiny_folder)]
    assert main(command) == 3
    said = capsys.readouterr().out
    assert "1 made, 0 there already, 1 failed" in said and "gone.wav" in said
    assert main([*command, "--json"]) == 3
    assert [r["status"] for r in json.loads(capsys.readouterr().out)] == ["kept", "failed"]
    assert main(["batch", "nowhere.csv", "--out", str(tmp_path)]) == 1


def ray_cluster(ray: Any, tries: int = 4) -> Any:
    """A local cluster of two workers; a Ray node gives up when its agents are not up in 15 s."""
    from ray.cluster_utils import Cluster

    for _ in range(tries):
        cluster = Cluster()
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1, include_dashboard=False)
            return cluster
        except Exception:  # Ray raises just that
            ray.shutdown()
            cluster.shutdown()
    pytest.skip(f"this machine is too busy: no Ray node was up within Ray's own 15 s, {tries} times")


@pytest.mark.timeout(1200)
def test_a_two_worker_ray_cluster_does_the_lines(folder, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "60")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray", reason="Ray is an extra")
    cluster = ray_cluster(ray)
    try:
        table = write(folder, "ray.csv", "id,audio\na,hum.wav\nb,hum.wav\nc,gone.wav\n")
        results = run_batch(
            read_lines(table), tmp_path, Defaults(avatar=str(tiny_folder)), ray=cluster.address
        )
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert [r.status for r in results] == ["done", "done", "failed"]
    assert (tmp_path / "a.mp4").is_file() and (tmp_path / "b.mp4").is_file()
