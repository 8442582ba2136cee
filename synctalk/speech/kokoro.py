"""The offline voice: Kokoro-82M through onnxruntime, with the times of its phones and words.

The graph computes how long each phoneme lasts; that inner tensor is made an output, so that lips can
be driven, and captions timed, without any recogniser.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synctalk.assets import model_path
from synctalk.errors import SpeechError
from synctalk.speech.kokoro_files import find_model
from synctalk.speech.phone_times import SILENCE, fit_pauses, phones_from_durations
from synctalk.speech.phonemes import Token, phonemize
from synctalk.speech.sentences import split_sentences
from synctalk.speech.words import Phone, Word

RATE = 24000
"""Sample rate of the voice, Hz."""

_FRAME_S = 0.025  # unit of the durations
_LIMIT_SYMBOLS = 510
_MOST_SYMBOLS = 400  # long stretches sound hurried well before that
_LEAD_S, _TAIL_S = 0.10, 0.35  # silence kept before and after a sentence
_LAGS_S = {"af_heart": 0.050, "am_michael": 0.060, "bf_emma": 0.060, "bm_george": 0.060}
_USUAL_LAG_S = 0.060  # of the voices whose lag was not measured


@dataclass(frozen=True)
class KokoroSpeech:
    """Speech with everything that is known about it."""

    samples: np.ndarray  # float32 [n] in [-1, 1]
    rate: int
    phones: list[Phone]  # contiguous from 0 to the end
    words: list[Word]


class Kokoro:
    """The voice model, loaded once. Safe to use from several threads."""

    def __init__(
        self,
        model: str | Path | None = None,
        voices: str | Path | None = None,
        threads: int | None = None,
    ) -> None:
        """Load the model.

        Args:
            model: path of the ONNX file; by default found, joined or downloaded (`find_model`).
            voices: folder of voice files `NAME.bin` (float32 [rows, 1, 256]); by default the bundled five.
            threads: CPU threads; by default one per core, four at most.

        Raises:
            SpeechError: no model, no voices, or a file that is not the model.
        """
        import onnxruntime  # 0.2 s to import; only this class needs it

        self._folder = Path(voices) if voices is not None else model_path("kokoro")
        self.voices: list[str] = sorted(file.stem for file in self._folder.glob("*.bin"))
        """Names of the voices in the folder: first letter the accent (b British), second f or m."""
        if not self.voices:
            raise SpeechError(f"There are no voice files (*.bin) in {self._folder}.")
        self._vocabulary: dict[str, int] = json.loads(
            model_path("kokoro/vocab.json").read_text(encoding="utf-8")
        )["vocab"]
        self._styles: dict[str, np.ndarray] = {}
        path = find_model(model)
        data = path.read_bytes()
        durations = _duration_tensor(data, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or min(_cores(), 4)
        options.inter_op_num_threads = 1
        # Spinning workers would take the cores away from the renderer that runs beside the voice.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                data + _as_output(durations), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises its own, undocumented kinds
            raise SpeechError(f"{path} is not a voice model that can be loaded: {error}") from error
        inputs = self._session.get_inputs()
        self._token_input = inputs[0].name
        self._speed_type = np.int32 if "int" in inputs[2].type else np.float32
        self._outputs = [self._session.get_outputs()[0].name, durations]

    def speak(
        self, text: str, voice: str = "am_michael", speed: float = 1.0, british: bool | None = None
    ) -> KokoroSpeech:
        """Speak a text of any length, sentence by sentence.

        Args:
            text: English; what cannot be said (emoji, other scripts) is left out.
            voice: one of `voices`.
            speed: 0.5 (slow) to 2 (fast).
            british: pronunciation; by default that of the voice.

        Returns:
            Speech at 24 kHz. The sound of the words starts about 0.1 s in.

        Raises:
            SpeechError: unknown voice, speed out of range, or nothing in the text that can be said.
        """
        return join_speech(list(self.stream(text, voice, speed, british)))

    def stream(
        self, text: str, voice: str = "am_michael", speed: float = 1.0, british: bool | None = None
    ) -> Iterator[KokoroSpeech]:
        """The same as `speak`, one sentence (or part of a very long one) at a time, as soon as it is made."""
        if voice not in self.voices:
            raise SpeechError(f"There is no voice '{voice}'. Voices: {', '.join(self.voices)}.")
        if not 0.5 <= speed <= 2.0:
            raise SpeechError(f"Speed {speed} is out of range; give 0.5 (slow) to 2 (fast).")
        if british is None:
            british = voice.startswith("b")
        spoke = False
        for sentence in split_sentences(text):
            for tokens in _parts(phonemize(sentence, british)):
                spoke = True
                yield self._utter(tokens, voice, speed)
        if not spoke:
            raise SpeechError("There is nothing in the text that can be said. Write some words in English.")

    def raw(self, symbols: str, style: np.ndarray, speed: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Run the model by itself: nothing is trimmed, no lag removed.

        Args:
            symbols: Kokoro's characters, at most 510 (`symbols_of`).
            style: float32 [256] or [1, 256]: row len(symbols) of a voice's `style`, or a blend of several.
            speed: as for `speak`.

        Returns:
            float32 [n] at 24 kHz, and the duration of each symbol and of the blanks at both ends in frames
            of 25 ms, int64 [len(symbols) + 2].

        Raises:
            SpeechError: a symbol the model does not know, or too many.
        """
        unknown = set(symbols) - set(self._vocabulary)
        if unknown or not 0 < len(symbols) <= _LIMIT_SYMBOLS:
            raise SpeechError(
                f"The voice model takes 1 to {_LIMIT_SYMBOLS} known symbols; got {len(symbols)}, "
                f"unknown among them: {' '.join(sorted(unknown)) or 'none'}."
            )
        samples, frames = self._session.run(
            self._outputs,
            {
                self._token_input: np.array([[0, *(self._vocabulary[s] for s in symbols), 0]], np.int64),
                "style": np.asarray(style, np.float32).reshape(1, 256),
                "speed": np.array([speed], self._speed_type),
            },
        )
        sound = np.clip(np.asarray(samples, np.float32).ravel(), -1.0, 1.0)
        return sound, np.asarray(frames).ravel().astype(np.int64)

    def symbols_of(self, text: str, british: bool = False) -> str:
        """Kokoro's characters of a text, spaces and marks included."""
        return "".join(self._symbols([t for t in phonemize(text, british) if t.phonemes])[0])

    def _utter(self, tokens: list[Token], voice: str, speed: float) -> KokoroSpeech:
        symbols, owners = self._symbols(tokens)
        styles = self.style(voice)
        samples, frames = self.raw("".join(symbols), styles[min(len(symbols), len(styles) - 1)], speed)
        phones = phones_from_durations(symbols, owners, frames * _FRAME_S, _LAGS_S.get(voice, _USUAL_LAG_S))
        phones = fit_pauses(phones, samples, RATE)
        speech = KokoroSpeech(samples, RATE, phones, _words(tokens, phones))
        return _trimmed(speech)

    def _symbols(self, tokens: list[Token]) -> tuple[list[str], list[int]]:
        """Kokoro's characters and the index of the token each belongs to (-1: none)."""
        symbols: list[str] = []
        owners: list[int] = []
        for i, token in enumerate(tokens):
            if symbols and token.phonemes:
                symbols.append(" ")
                owners.append(-1)
            for symbol in token.phonemes:
                if symbol in self._vocabulary:
                    symbols.append(symbol)
                    owners.append(i)
            if token.mark and symbols:
                symbols.append(token.mark)
                owners.append(-1)
        return symbols, owners

    def style(self, voice: str) -> np.ndarray:
        """A voice: float32 [rows, 1, 256], one style for each number of symbols."""
        if voice not in self._styles:
            values = np.fromfile(self._folder / f"{voice}.bin", np.float32)
            if values.size == 0 or values.size % 256 or not np.isfinite(values).all():
                raise SpeechError(f"{self._folder / voice}.bin is not a voice file.")
            self._styles[voice] = values.reshape(-1, 1, 256)
        return self._styles[voice]


def _cores() -> int:
    """Cores this process may use; Linux alone can say."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def join_speech(parts: list[KokoroSpeech]) -> KokoroSpeech:
    """Utterances one after the other as one."""
    phones: list[Phone] = []
    words: list[Word] = []
    at = 0.0
    for part in parts:
        for p in part.phones:
            word = p.word + len(words) if p.word >= 0 else -1
            if phones and p.symbol == phones[-1].symbol == SILENCE:
                phones[-1] = Phone(SILENCE, phones[-1].start_s, at + p.end_s, -1)
            else:
                phones.append(Phone(p.symbol, at + p.start_s, at + p.end_s, word, p.stress))
        words += [Word(w.text, at + w.start_s, at + w.end_s) for w in part.words]
        at += len(part.samples) / RATE
    return KokoroSpeech(np.concatenate([p.samples for p in parts]), RATE, phones, words)


def _parts(tokens: list[Token]) -> Iterator[list[Token]]:
    """Tokens in stretches short enough for the model, cut after a comma where there is one."""
    tokens = [t for t in tokens if t.phonemes]
    while tokens:
        size, cut, comma = 0, 0, 0
        for cut, token in enumerate(tokens, start=1):
            size += len(token.phonemes) + 2
            if size > _MOST_SYMBOLS and cut > 1:
                cut -= 1
                break
            if token.mark:
                comma = cut
        else:
            comma = cut
        end = comma if comma > cut // 2 else cut
        yield [_shortened(t) for t in tokens[:end]]
        tokens = tokens[end:]


def _shortened(token: Token) -> Token:
    """A single piece longer than the model can take (a page without a space) is cut off."""
    return Token(token.text, token.phonemes[:_MOST_SYMBOLS], token.mark)


def _words(tokens: list[Token], phones: list[Phone]) -> list[Word]:
    words: list[Word] = []
    for i, token in enumerate(tokens):
        own = [p for p in phones if p.word == i]
        # A word whose phones were all lost to rounding still has its place, between its neighbours.
        start = own[0].start_s if own else (words[-1].end_s if words else 0.0)
        words.append(Word(token.text, start, own[-1].end_s if own else start))
    return words


def _trimmed(speech: KokoroSpeech) -> KokoroSpeech:
    """Cut the silence before and after the words down to what a reader leaves."""
    loud = np.flatnonzero(np.abs(speech.samples) > 0.01)
    if len(loud) == 0 or not speech.words:
        return speech
    total = len(speech.samples) / RATE
    first = min(loud[0] / RATE, speech.words[0].start_s)
    last = max(loud[-1] / RATE, speech.words[-1].end_s)
    begin = max(0, round((first - _LEAD_S) * RATE))
    end = min(len(speech.samples), round((last + _TAIL_S) * RATE))
    start_s, end_s = begin / RATE, min(end / RATE, total)

    def moved(t: float) -> float:
        return float(min(max(t, start_s), end_s) - start_s)

    return KokoroSpeech(
        speech.samples[begin:end],
        RATE,
        [Phone(p.symbol, moved(p.start_s), moved(p.end_s), p.word, p.stress) for p in speech.phones],
        [Word(w.text, moved(w.start_s), moved(w.end_s)) for w in speech.words],
    )


def _duration_tensor(model: bytes, path: Path) -> str:
    """Name of the graph's tensor of rounded durations."""
    names = set(re.findall(rb"/[\w./]*encoder/Round_output_0", model))
    if len(names) != 1:
        raise SpeechError(f"{path} is not the Kokoro model: it does not compute phoneme durations.")
    return names.pop().decode()


def _as_output(name: str) -> bytes:
    """Bytes that, appended to a serialised ONNX model, add a float tensor to its outputs.

    Protocol buffers merge a message that occurs twice, so a second `graph` with one more output
    extends the first; no ONNX library is needed and the file on disk stays as it was published.
    """

    def field(number: int, payload: bytes) -> bytes:
        return bytes([number << 3 | 2]) + _varint(len(payload)) + payload

    tensor_type = field(1, b"\x08\x01")  # TypeProto.tensor_type { elem_type: FLOAT }
    value_info = field(1, name.encode()) + field(2, tensor_type)  # ValueInfoProto { name, type }
    return field(7, field(12, value_info))  # ModelProto { graph { output } }


def _varint(value: int) -> bytes:
    out: list[Any] = []
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
