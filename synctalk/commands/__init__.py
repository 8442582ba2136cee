"""One module per command, each with `add_arguments(parser)` and `run(args) -> int | None`.

The module of command `train-encoder` is `train_encoder.py`.
"""

COMMANDS = {
    "speak": "make an avatar say a text or a recording",
    "batch": "make many videos from a list",
    "verify": "read a video's content credentials",
    "bench": "measure speed on this machine",
}
