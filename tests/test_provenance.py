import json
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from synctalk.cli import main
from synctalk.errors import SyncTalkError, VideoError
from synctalk.provenance import Credentials, sign_video, verify

CLIP = Path(__file__).parent / "data" / "ben_3s.mp4"


@dataclass(frozen=True)
class Speaker:
    name: str = "ben"
    synthetic: bool = True


@pytest.fixture()
def signed(tmp_path: Path) -> Path:
    path = tmp_path / "signed.mp4"
    shutil.copyfile(CLIP, path)
    sign_video(path, Speaker())
    return path


def test_a_signed_video_says_that_it_was_generated_by_an_unknown_signer(signed):
    report = verify(signed)
    assert report.signed and report.intact and report.generated and not report.known_signer
    assert report.avatar == "ben" and report.generator.startswith("SyncTalk++")
    assert "unknown signer" in report.sentence


def test_a_signed_video_still_plays_with_the_same_frames(signed):
    def frames(path: Path) -> int:
        with av.open(str(path)) as container:
            return sum(1 for _ in container.decode(video=0))

    assert frames(signed) == frames(CLIP)


def test_a_changed_byte_is_found(signed):
    content = bytearray(signed.read_bytes())
    content[len(content) // 2] ^= 1
    signed.write_bytes(content)
    report = verify(signed)
    assert report.signed and not report.intact and report.problems
    assert "changed after signing" in report.sentence


def test_an_unsigned_video_is_called_unsigned():
    report = verify(CLIP)
    assert not report.signed and not report.intact
    assert report.sentence.startswith("No content credentials")


def test_the_certificate_is_made_once_and_its_key_is_private(tmp_path):
    first = Credentials.of_this_installation(tmp_path / "home")
    assert Credentials.of_this_installation(tmp_path / "home") == first
    assert stat.S_IMODE((tmp_path / "home" / "key.pem").stat().st_mode) == 0o600
    assert Credentials.of_this_installation(tmp_path / "other") != first


def test_a_certificate_of_ones_own_signs(tmp_path):
    Credentials.of_this_installation(tmp_path / "mine")
    own = Credentials.from_files(tmp_path / "mine" / "chain.pem", tmp_path / "mine" / "key.pem")
    path = tmp_path / "own.mp4"
    shutil.copyfile(CLIP, path)
    sign_video(path, Speaker(), own)
    assert verify(path).intact


def test_files_that_are_no_certificates_are_named(tmp_path):
    (tmp_path / "a.pem").write_text("hello")
    with pytest.raises(SyncTalkError, match=r"a\.pem"):
        Credentials.from_files(tmp_path / "a.pem", tmp_path / "a.pem")
    with pytest.raises(SyncTalkError, match=r"gone\.pem"):
        Credentials.from_files(tmp_path / "gone.pem", tmp_path / "a.pem")


def test_missing_files_and_files_that_are_no_video_are_told_plainly(tmp_path):
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        verify(tmp_path / "gone.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"text\.mp4"):
        verify(tmp_path / "text.mp4")
    with pytest.raises(VideoError, match=r"text\.mp4"):
        sign_video(tmp_path / "text.mp4", Speaker())
    assert (tmp_path / "text.mp4").read_text() == "no video"


def test_the_command_prints_the_finding_and_tells_by_its_exit_code(signed, capsys):
    assert main(["verify", str(signed)]) == 0
    assert "Intact content credentials" in capsys.readouterr().out
    assert main(["verify", str(CLIP), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["signed"] is False
    assert main(["verify", "gone.mp4"]) == 1
    assert "There is no file" in capsys.readouterr().err
