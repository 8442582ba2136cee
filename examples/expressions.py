"""The same sentence with four expressions: python examples/expressions.py"""

from synctalk import Expression, speak

EXPRESSIONS = {
    "natural": Expression(),
    "warm": Expression(emotion="happy", strength=0.8),
    "sober": Expression(emotion="serious", head_motion="calm", intensity=0.8),
    "astonished": Expression(emotion="surprised", strength=0.9, head_motion="lively"),
}

for name, expression in EXPRESSIONS.items():
    video = speak("So that is how it ended.", output=f"{name}.mp4", avatar="ben", expression=expression)
    print(video.path)
