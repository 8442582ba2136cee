"""The codebook quantizes, learns, streams, and keeps everyone inside the subject's range."""

import numpy as np
import pytest
import torch

from synctalk.errors import AvatarError
from synctalk.expression.codebook import Codebook, CodebookSettings, CodebookStream, Quantizer
from synctalk.tensor_file import write_tensors

SMALL = CodebookSettings(width=32, layers=1, tokens=4, code=8, entries=32, stages=3)


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    torch.manual_seed(0)
    book = Codebook(SMALL).eval()
    curves = np.random.default_rng(0).uniform(0.1, 0.6, (500, 52)).astype(np.float32)
    book.set_range(curves)
    return book


def test_each_stage_takes_the_entry_nearest_to_what_is_left():
    torch.manual_seed(1)
    quantizer = Quantizer(SMALL)
    latents = torch.randn(2, 5, 4, 8)
    result = quantizer(latents)
    for where in np.ndindex(2, 5, 4):
        left = latents[where]
        for stage, entries in enumerate(quantizer.entries):
            nearest = int((entries - left).norm(dim=1).argmin())
            assert int(result.indices[where][stage]) == nearest
            left = left - entries[nearest]
        torch.testing.assert_close(result.codes[where], latents[where] - left)


def test_gradients_pass_straight_through_the_choice():
    torch.manual_seed(1)
    latents = torch.randn(1, 3, 4, 8, requires_grad=True)
    weights = torch.randn(1, 3, 4, 8)
    (Quantizer(SMALL)(latents).codes * weights).sum().backward()
    assert torch.allclose(latents.grad, weights)


def test_dead_entries_are_revived_from_what_their_stage_is_given():
    torch.manual_seed(1)
    quantizer = Quantizer(SMALL)
    latents = torch.randn(4, 16, 4, 8)
    result = quantizer(latents)._replace(indices=torch.zeros(4, 16, 4, 3, dtype=torch.long))
    assert sum(quantizer.track(result, decay=0.5) for _ in range(10)) > 0
    for entries, given in zip(quantizer.entries.detach(), result.residuals, strict=True):
        assert int((torch.cdist(entries, given).min(1).values < 1e-2).sum()) >= 31


def test_perplexity_counts_the_entries_in_use_of_each_stage():
    spread = torch.arange(32).repeat(8)
    indices = torch.stack([spread, torch.zeros(256, dtype=torch.long), spread % 4], -1)
    assert Quantizer(SMALL).perplexity(indices) == pytest.approx([32, 1, 4], rel=1e-3)


def test_whatever_goes_in_the_range_is_kept(codebook):
    wild = np.random.default_rng(1).uniform(-3, 5, (200, 52)).astype(np.float32)
    out = codebook.fit(wild)
    assert (out >= codebook.low.numpy() - 1e-6).all() and (out <= codebook.high.numpy() + 1e-6).all()


def test_pieces_give_what_the_whole_gives(codebook):
    curves = np.random.default_rng(2).uniform(0, 1, (700, 52)).astype(np.float32)
    stream = CodebookStream(codebook)
    pieces = np.concatenate([stream.push(curves[a:b]) for a, b in ((0, 15), (15, 65), (65, 700))])
    np.testing.assert_allclose(pieces, codebook.fit(curves), atol=1e-5)


def test_a_codebook_comes_back_from_its_file(tmp_path, codebook):
    codebook.save(tmp_path / "c.safetensors")
    again = Codebook.load(tmp_path / "c.safetensors")
    torch.testing.assert_close(again.high, codebook.high)
    curves = np.random.default_rng(3).uniform(0, 1, (50, 52)).astype(np.float32)
    assert again.fit(curves).shape == (50, 52)


def test_a_codebook_of_another_version_says_what_to_do(tmp_path, codebook):
    path = tmp_path / "c.safetensors"
    write_tensors(path, codebook.state_dict(), {"words": 3})
    with pytest.raises(AvatarError, match="another version"):
        Codebook.load(path)
