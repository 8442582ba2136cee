"""Frames and sound as they are made, for a player or a network: python examples/stream.py"""

from synctalk import stream

samples = 0
for moment in stream("This sentence is shown while it is still being rendered.", avatar="ben"):
    samples += len(moment.track)
    if moment.index % 25 == 0:
        height, width, _ = moment.picture.shape
        print(
            f"second {moment.index // 25}: {width}x{height} px, {samples} samples at {moment.rate} Hz so far"
        )
