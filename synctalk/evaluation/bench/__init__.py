"""Speed on this machine. A bench is one module here with two functions:

`run(seconds, ...) -> dict` measures and returns figures that JSON can hold; it may also take `avatar`, a name
or folder. `table(result) -> str` shows them. A new bench also adds its name to BENCHES.
"""

BENCHES = {
    "splat": "the CPU rasterizer, beside plain torch and a scalar port of the GPU algorithm",
    "capturer": "measuring a face: landmarks and coefficients of each frame",
    "portrait": "deforming and drawing an avatar's portrait",
    "speak": "text to video, end to end",
    "sync": "ten sentences, several voices and avatars: are lips and sound in step?",
}
