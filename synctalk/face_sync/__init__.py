"""Face-Sync Controller (Section III-B): audio-visual encoder, facial animation capturer, masked attention."""
