"""One module per command, each with `add_arguments(parser)` and `run(args) -> int | None`.

The module of command `train-encoder` is `train_encoder.py`.
"""

COMMANDS = {
    "bench": "measure speed on this machine",
}
