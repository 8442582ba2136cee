from synctalk.evaluation.bench import portrait


def test_the_portrait_bench_measures_an_avatar_and_shows_it(tiny_folder):
    result = portrait.run(0.2, avatar=str(tiny_folder), threads=1)
    assert result["scene"] == "tiny"
    assert result["fps"] > 0
    assert 0 < result["deform_ms"] <= result["render_ms"] * 2
    assert result["psnr_training_path"] >= 50
    assert "frames per second" in portrait.table(result)
