"""Sound in: audio files, text to speech, mel spectrograms, voice activity."""
