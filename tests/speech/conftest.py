"""Shared by the speech tests: one loaded voice."""

import pytest

from synctalk.speech.kokoro import Kokoro


@pytest.fixture(scope="session")
def kokoro() -> Kokoro:
    return Kokoro(threads=2)
