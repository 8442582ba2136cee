"""The app as a visitor meets it: a real browser, real clicks."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the app is an extra")
playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")

import app  # noqa: E402
from synctalk.interface.examples import Example, make_films  # noqa: E402
from synctalk.interface.studio import Studio  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
PLAYING = """(id) => { const v = document.querySelector(`#${id} video`);
  return !!v && v.readyState >= 2 && v.currentTime > 0; }"""


READY = Example("Made beforehand", "tiny", "Hello there.", "Warm")
LIVE = Example("Made when asked for", "tiny", "Good evening.", "Sleepy")


@pytest.fixture(scope="module")
def url(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    studio = Studio([str(tiny_folder)])
    videos = tmp_path_factory.mktemp("videos")
    make_films(videos, studio.places, [READY])
    page = app.build(studio, [READY, LIVE], videos)
    _, address, _ = app.launch(page, "127.0.0.1", prevent_thread_lock=True, quiet=True)
    studio.warm()
    yield address
    page.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        try:
            yield play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        except playwright.Error as problem:
            pytest.skip(f"no browser: {problem.message.splitlines()[0]}")


@pytest.fixture()
def page(browser: Any, url: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.set_default_timeout(30_000)
    visit = context.new_page()
    visit.goto(url)
    visit.wait_for_selector("#still img")
    yield visit
    context.close()


def voice_file(path: Path, seconds: float = 1.2) -> Path:
    """A hum as WAV, MP3 or M4A."""
    codec = {".wav": "pcm_s16le", ".mp3": "mp3", ".m4a": "aac"}[path.suffix]
    samples = (0.3 * np.sin(np.arange(round(44100 * seconds)) * 0.03)).astype(np.float32)[None]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="mono")
        frame.sample_rate = 44100
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=44100)
        for ready in resampler.resample(frame):
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return path


def still(page: Any) -> np.ndarray:
    """The still preview as it is served, [H,W,3]."""
    source = page.get_attribute("#still img", "src")
    content = page.context.request.get(source).body()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.int16)


def upload(page: Any, file: Path) -> None:
    page.get_by_role("tab", name="Audio", exact=True).click()
    page.set_input_files("#audio input[type=file]", str(file))
    page.wait_for_selector("#audio #waveform, #audio .waveform-container, #audio audio", state="attached")


def test_typed_text_plays_early_and_can_be_downloaded(page, tmp_path):
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.fill("#text textarea", "Good morning. It is ten past nine.")
    page.click("#go")
    page.wait_for_function(PLAYING, arg="live", timeout=60_000)
    page.wait_for_function("() => document.querySelector('#film video')?.readyState >= 2", timeout=60_000)
    seconds = page.evaluate("() => document.querySelector('#film video').duration")
    assert 1.5 < seconds < 6
    page.evaluate("() => document.querySelector('#film video').play()")
    page.wait_for_function(PLAYING, arg="film")
    with page.expect_download() as download:
        page.click("#save-mp4")
    download.value.save_as(tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as container:
        kinds = {stream.type: stream.codec_context.name for stream in container.streams}
        frames = sum(1 for _ in container.decode(video=0))
    assert kinds == {"video": "h264", "audio": "aac"} and abs(frames / 25 - seconds) < 0.09
    with page.expect_download() as download:
        page.click("#save-srt")
    download.value.save_as(tmp_path / "film.srt")
    assert "Good morning." in (tmp_path / "film.srt").read_text()
    old = page.get_attribute("#film video", "src")
    page.click("#go")  # once more: the files of the first are gone
    page.wait_for_function(
        """(old) => { const film = document.querySelector('#film video');
  return film && film.src !== old && film.readyState >= 2; }""",
        arg=old,
        timeout=60_000,
    )
    strangers = [r for r in requests if not r.startswith(("http://127.0.0.1", "blob:", "data:"))]
    assert not strangers


def test_an_example_made_beforehand_plays_at_one_click_with_its_files(page, tmp_path):
    page.get_by_role("button", name="Made beforehand").click()
    page.wait_for_function(PLAYING, arg="film")
    assert "made beforehand" in page.inner_text("#status")
    assert page.input_value("#text textarea") == "Hello there."
    for button, ending in (("#save-mp4", ".mp4"), ("#save-srt", ".srt"), ("#save-wav", ".wav")):
        with page.expect_download() as download:
            page.click(button)
        assert download.value.suggested_filename.endswith(ending)
    assert page.is_enabled("#go") and page.is_disabled("#stop")


def test_another_example_is_rendered_at_one_click(page):
    page.get_by_role("button", name="Made when asked for").click()
    page.wait_for_function("() => document.querySelector('#film video')?.readyState >= 2", timeout=60_000)
    assert page.input_value("#text textarea") == "Good evening." and page.is_enabled("#save-srt")


def test_shape_and_background_show_in_the_still_before_anything_is_made(page):
    page.click("#picture button")
    for choice in ("Transparent", "9:16"):
        source = page.get_attribute("#still img", "src")
        page.get_by_label(choice, exact=True).check()
        page.wait_for_function("(old) => document.querySelector('#still img').src !== old", arg=source)
    height, width, _ = still(page).shape
    assert height > 1.5 * width


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".m4a"])
def test_an_uploaded_recording_becomes_a_video(page, tmp_path, suffix):
    upload(page, voice_file(tmp_path / f"hum{suffix}"))
    page.click("#go")
    page.wait_for_function("() => document.querySelector('#film video')?.readyState >= 1", timeout=60_000)
    seconds = page.evaluate("() => document.querySelector('#film video').duration")
    assert abs(seconds - 1.2) < 0.15
    assert page.is_disabled("#save-srt") and page.is_enabled("#save-wav")


def test_a_brow_slider_changes_the_brows_at_once_and_not_the_lips(page):
    page.click("#expression button")
    before = still(page)
    source = page.get_attribute("#still img", "src")
    slider = page.locator("#brow_inner_up input[type=range]")
    slider.focus()
    slider.press("End")
    slider.dispatch_event("pointerup")
    page.wait_for_function("(old) => document.querySelector('#still img').src !== old", arg=source)
    moved = np.abs(still(page) - before).max(axis=2)
    assert moved[40:110].max() > 12
    assert moved[150:].max() <= 4  # JPEG
    assert page.evaluate("() => scrollY") > 100 and page.locator("#stage").bounding_box()["y"] >= 0  # sticky
    source = page.get_attribute("#still img", "src")
    page.click("#reset")
    page.wait_for_function("(old) => document.querySelector('#still img').src !== old", arg=source)
    assert np.abs(still(page) - before).max() <= 4


def test_stop_frees_the_page_for_the_next_video(page, tmp_path):
    upload(page, voice_file(tmp_path / "long.wav", seconds=60))
    page.click("#go")
    page.wait_for_selector("#status >> text=Rendering frame", timeout=60_000)
    assert page.is_disabled("#go")
    page.click("#stop")
    page.wait_for_selector("#status >> text=Stopped")
    page.wait_for_timeout(1000)  # the news of the job that was still on its way
    assert "Stopped" in page.inner_text("#status") and page.is_visible("#still img")
    assert page.is_enabled("#go") and page.is_disabled("#stop")
    upload_again = voice_file(tmp_path / "short.wav")
    page.locator("#audio").get_by_label("Clear").click()
    page.set_input_files("#audio input[type=file]", str(upload_again))
    page.wait_for_timeout(500)
    page.click("#go")
    page.wait_for_function("() => document.querySelector('#film video')?.readyState >= 1", timeout=60_000)


def test_an_example_made_beforehand_takes_the_place_of_a_running_job(page, tmp_path):
    upload(page, voice_file(tmp_path / "long.wav", seconds=60))
    page.click("#go")
    page.wait_for_selector("#status >> text=Rendering frame", timeout=60_000)
    page.get_by_role("button", name="Made beforehand").click()
    page.wait_for_function(PLAYING, arg="film")
    page.wait_for_timeout(1000)
    assert "made beforehand" in page.inner_text("#status") and page.is_visible("#film video")
    assert page.is_enabled("#go") and page.is_disabled("#stop")


def test_a_file_that_is_no_sound_gets_one_plain_sentence(page, tmp_path):
    (tmp_path / "notes.wav").write_text("these are notes")
    page.get_by_role("tab", name="Audio", exact=True).click()
    page.set_input_files("#audio input[type=file]", str(tmp_path / "notes.wav"))
    page.wait_for_timeout(500)
    page.click("#go")
    toast = page.wait_for_selector("[data-testid=toast-body]")
    assert "notes.wav" in toast.inner_text() and "Traceback" not in toast.inner_text()
    page.wait_for_function("() => !document.querySelector('#go').disabled")


def test_nothing_to_say_is_told_and_the_page_stays_usable(page):
    page.click("#go")
    assert (
        "Write what the avatar should say" in page.wait_for_selector("[data-testid=toast-body]").inner_text()
    )
    page.wait_for_function("() => !document.querySelector('#go').disabled")


def test_on_a_phone_everything_is_in_reach_without_scrolling_sideways(browser, url):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    visit = context.new_page()
    visit.goto(url)
    visit.wait_for_selector("#still img")
    assert visit.evaluate("() => document.documentElement.scrollWidth") <= 390
    stage, text = visit.locator("#stage").bounding_box(), visit.locator("#text").bounding_box()
    assert stage["y"] < text["y"] and text["y"] < 844
    for name in ("#go", "#voice", "#expression"):
        box = visit.locator(name).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    visit.click("#expression button")
    seen = visit.evaluate(
        """async () => { const stage = document.querySelector('#stage'), tops = [], strange = new Set();
  for (let down = 500; down <= 900; down += 50) {
    scrollTo(0, down);
    await new Promise((done) => requestAnimationFrame(done));
    const box = stage.getBoundingClientRect();
    tops.push(box.top);
    for (let x = 20; x < 380; x += 12) for (let y = 4; y < box.bottom - 2; y += 6) {
      const found = document.elementFromPoint(x, y);
      if (!found.closest('#stage')) strange.add(found.textContent.trim());
    }
  }
  return [...new Set(tops), ...strange]; }"""
    )
    assert seen == [0]  # the picture stays on top, and nothing shows through
    context.close()


def test_the_second_tab_writes_a_consent_record_only_with_permission(page):
    page.get_by_role("tab", name="Make an avatar").click()
    page.get_by_label("Name of the avatar").fill("maria")
    page.click("#consent")
    assert "permission" in page.wait_for_selector("[data-testid=toast-body]").inner_text()
    page.get_by_label("Who is shown?").fill("Maria Example")
    page.get_by_label("How did they agree?").fill("Signed letter")
    page.get_by_label("When? (YYYY-MM-DD)").fill("2026-01-15")
    page.locator("#statement textarea").fill(
        "I agree that an avatar of me is made and used for training films."
    )
    page.get_by_label("I have this person's permission").check()
    page.click("#consent")
    page.wait_for_selector("#command")
    assert "synctalk train VIDEO.mp4 --name maria" in page.inner_text("#command")
