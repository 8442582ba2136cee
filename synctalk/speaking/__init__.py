"""The parts of the main road that `synctalk/speak.py` puts in order."""
