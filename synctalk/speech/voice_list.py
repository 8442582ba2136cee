"""The voices that are offered, and which one stands in for another."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Voice:
    """A voice by name."""

    name: str
    engine: str  # 'kokoro' (offline) or 'edge' (online)
    language: str  # 'en-US'
    gender: str  # 'female' or 'male'
    label: str  # for a list that people read


OFFLINE = (
    Voice("am_michael", "kokoro", "en-US", "male", "Michael, American (offline)"),
    Voice("af_heart", "kokoro", "en-US", "female", "Heart, American (offline)"),
    Voice("af_bella", "kokoro", "en-US", "female", "Bella, American (offline)"),
    Voice("bf_emma", "kokoro", "en-GB", "female", "Emma, British (offline)"),
    Voice("bm_george", "kokoro", "en-GB", "male", "George, British (offline)"),
)

ONLINE = (
    Voice("en-US-AriaNeural", "edge", "en-US", "female", "Aria, American (online)"),
    Voice("en-US-GuyNeural", "edge", "en-US", "male", "Guy, American (online)"),
    Voice("en-US-AvaMultilingualNeural", "edge", "en-US", "female", "Ava, many languages (online)"),
    Voice("en-US-AndrewMultilingualNeural", "edge", "en-US", "male", "Andrew, many languages (online)"),
    Voice("en-GB-SoniaNeural", "edge", "en-GB", "female", "Sonia, British (online)"),
    Voice("en-GB-RyanNeural", "edge", "en-GB", "male", "Ryan, British (online)"),
    Voice("en-AU-NatashaNeural", "edge", "en-AU", "female", "Natasha, Australian (online)"),
    Voice("en-IN-NeerjaNeural", "edge", "en-IN", "female", "Neerja, Indian English (online)"),
    Voice("de-DE-KatjaNeural", "edge", "de-DE", "female", "Katja, German (online)"),
    Voice("de-DE-ConradNeural", "edge", "de-DE", "male", "Conrad, German (online)"),
    Voice("fr-FR-DeniseNeural", "edge", "fr-FR", "female", "Denise, French (online)"),
    Voice("fr-FR-HenriNeural", "edge", "fr-FR", "male", "Henri, French (online)"),
    Voice("es-ES-ElviraNeural", "edge", "es-ES", "female", "Elvira, Spanish (online)"),
    Voice("es-ES-AlvaroNeural", "edge", "es-ES", "male", "Alvaro, Spanish (online)"),
    Voice("it-IT-ElsaNeural", "edge", "it-IT", "female", "Elsa, Italian (online)"),
    Voice("it-IT-DiegoNeural", "edge", "it-IT", "male", "Diego, Italian (online)"),
    Voice("pt-BR-FranciscaNeural", "edge", "pt-BR", "female", "Francisca, Brazilian (online)"),
    Voice("pt-BR-AntonioNeural", "edge", "pt-BR", "male", "Antonio, Brazilian (online)"),
    Voice("nl-NL-ColetteNeural", "edge", "nl-NL", "female", "Colette, Dutch (online)"),
    Voice("ru-RU-SvetlanaNeural", "edge", "ru-RU", "female", "Svetlana, Russian (online)"),
    Voice("el-GR-AthinaNeural", "edge", "el-GR", "female", "Athina, Greek (online)"),
    Voice("ar-EG-SalmaNeural", "edge", "ar-EG", "female", "Salma, Arabic (online)"),
    Voice("he-IL-HilaNeural", "edge", "he-IL", "female", "Hila, Hebrew (online)"),
    Voice("hi-IN-SwaraNeural", "edge", "hi-IN", "female", "Swara, Hindi (online)"),
    Voice("th-TH-PremwadeeNeural", "edge", "th-TH", "female", "Premwadee, Thai (online)"),
    Voice("ko-KR-SunHiNeural", "edge", "ko-KR", "female", "Sun-Hi, Korean (online)"),
    Voice("ja-JP-NanamiNeural", "edge", "ja-JP", "female", "Nanami, Japanese (online)"),
    Voice("zh-CN-XiaoxiaoNeural", "edge", "zh-CN", "female", "Xiaoxiao, Chinese (online)"),
    Voice("zh-CN-YunxiNeural", "edge", "zh-CN", "male", "Yunxi, Chinese (online)"),
)

_MALE_NAMES = (
    "Guy",
    "Ryan",
    "Andrew",
    "Brian",
    "Christopher",
    "Eric",
    "Roger",
    "Steffan",
    "Thomas",
    "William",
)


def describe(name: str) -> Voice:
    """What is known, or can be read from the name, of any voice of either engine."""
    for voice in OFFLINE + ONLINE:
        if voice.name == name:
            return voice
    if "Neural" in name:
        language = "-".join(name.split("-")[:2])
        gender = "male" if any(m in name for m in _MALE_NAMES) else "female"
        return Voice(name, "edge", language, gender, f"{name} (online)")
    gender = "male" if name[1:2] == "m" else "female"
    language = "en-GB" if name.startswith("b") else "en-US"
    return Voice(name, "kokoro", language, gender, f"{name} (offline)")


def stand_in(name: str, engine: str, language: str | None = None) -> Voice | None:
    """The voice of another engine that is most like this one; None if it has none for the language."""
    wanted = describe(name)
    language = language or wanted.language[:2]
    choices = [v for v in (OFFLINE if engine == "kokoro" else ONLINE) if v.language[:2] == language]
    if not choices:
        return None
    return max(choices, key=lambda v: (v.gender == wanted.gender) * 2 + (v.language == wanted.language))
