from synctalk.evaluation.bench import capturer


def test_the_capturer_bench_measures_every_way_and_shows_it(tiny_folder):
    result = capturer.run(0.0, avatar=str(tiny_folder), threads=1)
    assert set(result["fps"]) == set(result["cpu_ms"]) == {"video", "two views", "one view"}
    assert all(value > 0 for value in [*result["fps"].values(), *result["cpu_ms"].values()])
    assert result["cpu_ms"]["one view"] < result["cpu_ms"]["two views"]
    shown = capturer.table(result)
    assert "512x512" in shown and "frames per second" in shown
