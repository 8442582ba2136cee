import json
from pathlib import Path

import pytest

from synctalk import consent
from synctalk.errors import TrainingError

GOOD = {
    "who": "Ann Example",
    "how": "signed letter",
    "when": "2026-01-31",
    "statement": "You may make an avatar of me for the course videos.",
}


def test_a_complete_record_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(GOOD))
    record = consent.read(tmp_path / "c.json")
    assert record.as_dict() == {**GOOD, "synthetic": False}


def test_the_untouched_template_is_refused() -> None:
    with pytest.raises(TrainingError, match="'who' is not filled in"):
        consent.parse(consent.template(), "c.json")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"who": ""}, "'who'"),
        ({"how": None}, "'how'"),
        ({"when": "last spring"}, "'when'"),
        ({"when": "2999-01-01"}, "future"),
        ({"statement": "ok"}, "'statement'"),
        ({"synthetic": "yes"}, "'synthetic'"),
    ],
)
def test_a_bad_field_is_named_with_its_file(change: dict[str, object], named: str) -> None:
    with pytest.raises(TrainingError, match=named) as caught:
        consent.parse({**GOOD, **change}, "c.json")
    assert "c.json" in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="synctalk avatar consent"):
        consent.read(tmp_path / "none.json")


@pytest.mark.parametrize("text", ["{", "[]", '"yes"'])
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(TrainingError, match=r"c\.json"):
        consent.read(tmp_path / "c.json")
