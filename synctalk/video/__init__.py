"""Reading and writing video. Frames are uint8 RGB [H,W,3]; frame i shows time i / fps seconds."""

from synctalk.video.planes import Planes
from synctalk.video.reading import VideoInfo, VideoReader, probe, read_frames
from synctalk.video.writing import VideoWriter

__all__ = ["Planes", "VideoInfo", "VideoReader", "VideoWriter", "probe", "read_frames"]
