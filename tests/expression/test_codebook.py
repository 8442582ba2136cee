"""The codebook quantizes, learns, streams, and keeps everyone inside the subject's range."""

import numpy as np
import pytest
import torch

from synctalk.expression.codebook import Codebook, CodebookSettings, CodebookStream, Quantizer

SMALL = CodebookSettings(width=32, layers=1, tokens=4, code=8, entries=32)


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    torch.manual_seed(0)
    book = Codebook(SMALL).eval()
    curves = np.random.default_rng(0).uniform(0.1, 0.6, (500, 52)).astype(np.float32)
    book.set_range(curves)
    return book


def test_each_latent_becomes_its_nearest_entry():
    torch.manual_seed(1)
    quantizer = Quantizer(SMALL)
    latents = torch.randn(2, 5, 4, 8)
    result = quantizer(latents)
    for where in np.ndindex(2, 5, 4):
        distances = (quantizer.entries - latents[where]).norm(dim=1)
        assert int(result.indices[where]) == int(distances.argmin())
        assert torch.allclose(result.codes[where], quantizer.entries[distances.argmin()], atol=1e-6)


def test_gradients_pass_straight_through_the_choice():
    torch.manual_seed(1)
    latents = torch.randn(1, 3, 4, 8, requires_grad=True)
    weights = torch.randn(1, 3, 4, 8)
    (Quantizer(SMALL)(latents).codes * weights).sum().backward()
    assert torch.allclose(latents.grad, weights)


def test_dead_entries_are_revived_from_current_latents():
    torch.manual_seed(1)
    quantizer = Quantizer(SMALL)
    latents = torch.randn(4, 16, 4, 8)
    first = torch.zeros(4, 16, 4, dtype=torch.long)
    revived = sum(quantizer.track(first, latents, decay=0.5) for _ in range(10))
    assert revived > 0
    flat = latents.reshape(-1, 8)
    matches = (torch.cdist(quantizer.entries.detach(), flat).min(1).values < 1e-2).sum()
    assert int(matches) >= 31
    spread = torch.arange(32).repeat(8).reshape(4, 16, 4)
    assert quantizer.perplexity(spread) == pytest.approx(32, rel=1e-3)
    assert quantizer.perplexity(first) == pytest.approx(1, rel=1e-3)


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
