"""Speed on this machine. A bench is one module here with two functions:

`run(quick: bool) -> dict` measures and returns figures that JSON can hold, and `table(result) -> str` shows them.
A new bench also adds its name to BENCHES.
"""

BENCHES = {
    "splat": "the CPU rasterizer, beside plain torch and a scalar port of the GPU algorithm",
}
