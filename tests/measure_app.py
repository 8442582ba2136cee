"""How long a visitor waits, in a real browser: python tests/measure_app.py [--rounds 3] [--avatar ada]

Prints the seconds from the click on 'Make the video' to the first frame that plays, for a recording and for a
text, and the milliseconds from letting go of a slider to the new picture, with everything warm.
"""

import argparse
import statistics
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from test_app_browser import ARGUMENTS, CHROMIUM, upload  # noqa: E402

import app  # noqa: E402
from synctalk.interface.studio import SAMPLE, Studio  # noqa: E402
from synctalk.speaking.expression import Expression  # noqa: E402
from synctalk.speech.text_to_speech import synthesize  # noqa: E402

TEXT = "Good morning. It is ten past nine, and the sun is out."
FIRST_FRAME = """() => new Promise((done) => {
  const began = performance.now();
  document.querySelector('#go').click();
  const look = () => {
    const video = document.querySelector('#live video');
    if (video && video.readyState >= 2 && video.currentTime > 0) done((performance.now() - began) / 1000);
    else requestAnimationFrame(look);
  };
  look();
})"""
SLIDER = """([name, value]) => new Promise((done) => {
  const slider = document.querySelector(`#${name} input[type=range]`);
  const before = document.querySelector('#still img').src;
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(slider, value);
  slider.dispatchEvent(new Event('input', { bubbles: true }));
  requestAnimationFrame(() => {
    const began = performance.now();
    slider.dispatchEvent(new PointerEvent('pointerup', { bubbles: true }));
    const look = () => {
      const picture = document.querySelector('#still img');
      if (picture.src !== before && picture.complete && picture.naturalWidth) done(performance.now() - began);
      else requestAnimationFrame(look);
    };
    look();
  });
})"""


def recording(path: Path) -> Path:
    """A spoken sentence as a WAV file."""
    speech = synthesize(TEXT, engine="kokoro")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(speech.rate)
        file.writeframes((np.clip(speech.samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def first_frame_s(browser: Any, url: str, sound: Path | None) -> float:
    """Seconds from the click to the first playing frame, for a recording or the text."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(120_000)
    page.goto(url)
    page.wait_for_selector("#still img")
    if sound is None:
        page.fill("#text textarea", TEXT)
    else:
        upload(page, sound)
    page.wait_for_timeout(1000)
    seconds = page.evaluate(FIRST_FRAME)
    page.wait_for_function("() => document.querySelector('#film video')?.readyState >= 1", timeout=120_000)
    page.close()
    return float(seconds)


def slider_ms(browser: Any, url: str, rounds: int) -> list[float]:
    """Milliseconds from release to picture, for several moves."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(60_000)
    page.goto(url)
    page.wait_for_selector("#still img")
    page.click("#expression button")
    page.wait_for_timeout(500)
    moves = [0.1 + 0.8 * i / rounds for i in range(rounds)]
    times = [float(page.evaluate(SLIDER, ["brow_inner_up", f"{value:.2f}"])) for value in moves]
    page.close()
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--avatar", default="ada")
    args = parser.parse_args()
    studio = Studio([args.avatar])
    page = app.build(studio)
    _, url, _ = app.launch(page, "127.0.0.1", prevent_thread_lock=True, quiet=True)
    studio.warm()
    synthesize(SAMPLE, engine="kokoro")
    stills = []
    for i in range(10):
        began = time.perf_counter()
        studio.still(studio.names[0], Expression(smile=i / 10))
        stills.append(1000 * (time.perf_counter() - began))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        sound = recording(Path(folder) / "speech.wav")
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        waits = {
            kind: [first_frame_s(browser, url, given) for _ in range(args.rounds)]
            for kind, given in (("a recording", sound), ("a text", None))
        }
        moves = slider_ms(browser, url, 10)
        browser.close()
    page.close()
    for kind, times in waits.items():
        print(f"click to first playing frame, {kind}: best {min(times):.2f} s, all {np.round(times, 2)}")
    for name, numbers in (("in the browser", moves), ("on the server alone", stills)):
        middle = statistics.median(numbers)
        print(f"slider let go to picture, {name}: median {middle:.0f} ms, best {min(numbers):.0f} ms")


if __name__ == "__main__":
    main()
