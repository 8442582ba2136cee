"""Speech synthesised in many voices with known mouths: the corpus the audio-visual encoder is trained on."""
