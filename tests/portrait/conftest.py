import pytest
from portrait_parts import small_portrait

from synctalk.portrait.model import PortraitModel


@pytest.fixture
def portrait() -> PortraitModel:
    return small_portrait()
