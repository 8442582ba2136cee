"""Letter-to-sound rules: the last resort for words no dictionary has (invented names, typing errors)."""

import re

# (letters, what must stand before, what must follow, phonemes); the first rule that fits is used.
# In the patterns V is a vowel letter, C a consonant letter, '$' the end of the word.
_RULES_TEXT = """
eigh|||A
augh|||ɔ
ough||t|ɔ
ough|||O
tion|||ʃən
ssion|||ʃən
sion|V||ʒən
sion|||ʃən
cian|||ʃən
cious|||ʃəs
tious|||ʃəs
ture||$|ʧəɹ
sure|V|$|ʒəɹ
tch|||ʧ
dge|||ʤ
sch|^|V|ʃ
sch|||sk
igh|||I
eau|||O
ious|||iəs
ous||$|əs
ique||$|ik
ing|C|$|ɪŋ
kn|^||n
gn|^||n
gn||$|n
ps|^||s
pn|^||n
wr|^||ɹ
wh|^||w
rh|^||ɹ
mb||$|m
ck|||k
ch||[rl]|k
ch|||ʧ
sh|||ʃ
th|||θ
ph|||f
gh|^||ɡ
gh|||
ng||$|ŋ
ng||[^eiy]|ŋɡ
nk|||ŋk
qu|||kw
que||$|k
sc||[eiy]|s
cc||[eiy]|ks
c||[eiy]|s
x|^||z
x|||ks
dg||[eiy]|ʤ
g||[eiy]|ʤ
eer|||ɪɹ
ear||C|ɜɹ
ear|||ɪɹ
air|||ɛɹ
are||$|ɛɹ
oor|||ɔɹ
our|||ɔɹ
ore||$|ɔɹ
ire||$|Iəɹ
ure||$|jʊɹ
er||$|əɹ
or||$|əɹ
ar||$|ɑɹ
ee|||i
ea||d$|ɛ
ea|||i
ei|c||i
ei|||A
ey||$|i
ey|||A
eu|||ju
ew|||ju
ie||$|i
ie|||i
oa|||O
oe||$|O
oi|||Y
oy|||Y
oo||k|ʊ
oo|||u
ou|||W
ow||$|O
ow|||W
ai|||A
ay|||A
au|||ɔ
aw|||ɔ
ue||$|u
ui|||u
a||r|ɑ
a||CeD?$|A
a||$|ə
a||ll|ɔ
a||st?e$|A
a|||æ
e|C|$|
e||r|ɜ
e||CeD?$|i
e|^C?|V|i
e|||ɛ
i||r|ɜ
i||CeD?$|I
i||nd$|I
i||ld$|I
i|C|V|i
i||$|i
i|||ɪ
o||r|ɔ
o||CeD?$|O
o||$|O
o||ld|O
o||ll$|O
o|||ɑ
u||r|ɜ
u||CeD?$|ju
u||$|u
u|^C?|V|u
u|||ʌ
y|^|V|j
y||CeD?$|I
y|C|$|i
y|V||j
y|||ɪ
b|||b
c|||k
d|||d
f|||f
g|||ɡ
h|^||h
h||V|h
h|||
j|||ʤ
k|||k
l|||l
m|||m
n|||n
p|||p
q|||k
r|||ɹ
s|V|V|z
s|V|e$|z
s|||s
t|||t
v|||v
w||V|w
w|||
z|||z
"""

_VOWELS = "AIOWYæɑɔəɛɜɪiuʊʌ"
_ENDINGS = ("ʃən", "ʒən", "ʃəs", "iəs", "ɪk", "ɪɾi", "iən")  # stress falls on the vowel before these


def _compile() -> list[tuple[str, re.Pattern[str], re.Pattern[str], str]]:
    rules = []
    for line in _RULES_TEXT.strip().splitlines():
        letters, before, after, sound = line.split("|")
        before, after = (
            side.replace("V", "[aeiouy]").replace("C", "[^aeiouy]").replace("D", "[sd]")
            for side in (before, after)
        )
        rules.append((letters, re.compile(f"(?:{before})$" if before else ""), re.compile(after), sound))
    return rules


_RULES = _compile()


def letter_to_sound(word: str, british: bool = False) -> str:
    """Best guess at the phonemes of a lower-case word; empty only where it has no Latin letter."""
    word = re.sub(r"[^a-z]", "", word.lower())
    parts: list[str] = []
    at = 0
    while at < len(word):
        if at and word[at] == word[at - 1] and word[at] not in "aeiouc":
            at += 1  # doubled consonants sound once
            continue
        for letters, before, after, sound in _RULES:
            if word.startswith(letters, at):
                rest = at + len(letters)
                if before.search(word[:at]) and after.match(word[rest:]):
                    parts.append(sound)
                    at = rest
                    break
        else:
            at += 1
    sound = _stressed("".join(parts))
    return _to_british(sound) if british else sound


def _stressed(sound: str) -> str:
    vowels = [i for i, c in enumerate(sound) if c in _VOWELS]
    if not vowels:
        return sound
    at = vowels[0]
    for ending in _ENDINGS:
        if sound.endswith(ending):
            earlier = [i for i in vowels if i < len(sound) - len(ending)]
            at = earlier[-1] if earlier else at
    return sound[:at] + "ˈ" + sound[at:]


def _to_british(sound: str) -> str:
    for old, new in (
        ("ɑɹ", "ɑː"),
        ("ɔɹ", "ɔː"),
        ("ɜɹ", "ɜː"),
        ("ɪɹ", "ɪə"),
        ("ɛɹ", "ɛː"),
        ("əɹ", "ə"),
        ("O", "Q"),
        ("æ", "a"),
        ("u", "uː"),
    ):
        sound = sound.replace(old, new)
    sound = re.sub("ɑ(?!ː)", "ɒ", sound)
    sound = re.sub("ɔ(?!ː)", "ɔː", sound)
    return re.sub("ˈi(?!ː)", "ˈiː", sound)
