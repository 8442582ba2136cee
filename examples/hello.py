"""A sentence becomes a video: python examples/hello.py"""

from synctalk import Expression, speak

video = speak(
    "Hello. I am an avatar, and I say whatever you type.",
    output="hello.mp4",
    avatar="ben",
    expression=Expression(smile=0.4, head_motion="calm"),
)
print(f"{video.path}: {video.duration_s:.1f} s, {video.frames / video.seconds:.0f} frames per second")
print(video.srt())
