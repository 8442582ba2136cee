"""One module per command, each with `add_arguments(parser)` and `run(args) -> int | None`.

The module of command `train-encoder` is `train_encoder.py`.
"""

COMMANDS = {
    "speak": "make an avatar say a text or a recording",
    "batch": "make many videos from a list",
    "verify": "read a video's content credentials",
    "train": "make an avatar from a video of a person who agreed",
    "evaluate": "measure an avatar against a true video",
    "avatar": "list, show, check and pack avatars; write a consent template",
    "train-encoder": "make the speech corpus and train the audio-visual encoder",
    "express": "make the expression curves of a voice",
    "train-expression": "train the shared expression generator and codebook",
    "judge-expression": "measure expression generator, codebook and blinks against true curves",
    "train-torso": "train the torso restorer alone: of one avatar or the shared one",
    "sync": "judge how well lips and sound of a video agree",
    "track": "head poses of a video, one steady pose per frame",
    "check": "look at a video before training: will it make a good avatar?",
    "blendshapes": "measure the 52 facial coefficients of a video",
    "bench": "measure speed on this machine",
}
