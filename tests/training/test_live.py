import io
import json
from pathlib import Path

from synctalk.training.live import LiveLine, describe, read_history


def test_the_line_tells_stage_loss_held_out_scores_and_time_left() -> None:
    values = {"step": 500, "steps": 1500, "stage": 2, "loss": 0.0123, "gaussians": 900}
    text = describe(values, {"psnr_head": 31.24}, elapsed_s=50, first_step=0)
    assert text == "portrait 500/1500  stage 2  loss 0.0123  head 31.2 dB  900 gaussians  2 min left"


def test_reports_are_kept_and_a_log_gets_plain_lines(tmp_path: Path) -> None:
    stream = io.StringIO()
    line = LiveLine(tmp_path / "h.jsonl", stream)
    line({"step": 10, "steps": 20, "stage": 1, "loss": 0.5, "image": object()})
    line({"step": 20, "steps": 20, "stage": 1, "loss": 0.4})
    line.close()
    assert stream.getvalue() == "portrait 10/20  stage 1  loss 0.5000\n"
    assert [row["loss"] for row in read_history(tmp_path / "h.jsonl")] == [0.5, 0.4]


def test_steps_done_again_after_a_resume_replace_the_old_ones(tmp_path: Path) -> None:
    rows = [{"step": s, "loss": s} for s in (10, 20, 30)] + [{"step": s, "loss": -s} for s in (20, 25)]
    path = tmp_path / "h.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4')
    assert read_history(path) == [
        {"step": 10, "loss": 10},
        {"step": 20, "loss": -20},
        {"step": 25, "loss": -25},
    ]
    assert read_history(tmp_path / "none.jsonl") == []
