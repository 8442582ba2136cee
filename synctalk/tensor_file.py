"""Safetensors files with their settings inside, read strictly: what is wrong is named by file and tensor."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from synctalk.errors import AvatarError, SyncTalkError

Shape = Sequence[int | None]


def write_tensors(
    path: Path | str, tensors: Mapping[str, Tensor], settings: Mapping[str, Any] | None = None
) -> None:
    """Writes named tensors and, as JSON in the header, the plain `settings` that rebuild their module."""
    path = Path(path)
    partial = path.with_name(path.name + ".part")
    data = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Not save_file: it makes files that only their owner may read.
    partial.write_bytes(save(data, metadata={"settings": json.dumps(dict(settings or {}))}))
    partial.replace(path)


def read_tensors(
    path: Path | str,
    expected: Mapping[str, Shape] | None = None,
    error: type[SyncTalkError] = AvatarError,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `write_tensors` wrote: the tensors and the settings.

    Args:
        path: the safetensors file.
        expected: name -> shape; None inside a shape is any length. Other tensors may be there too.
        error: the class to raise.

    Raises:
        AvatarError (or `error`): no such file, damaged, a tensor missing, of another shape, or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise error(f"{path} is missing.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            settings = json.loads((file.metadata() or {}).get("settings", "{}"))
    except (SafetensorError, json.JSONDecodeError, OSError) as reason:
        raise error(f"{path} is damaged and cannot be read ({reason}). Get the file again.") from reason
    for name, shape in (expected or {}).items():
        check_shape(path, name, tensors, shape, error)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise error(f"{path}: tensor '{name}' holds NaN or infinity.")
    return tensors, settings


def check_shape(
    path: Path | str, name: str, tensors: Mapping[str, Tensor], shape: Shape, error: type[SyncTalkError]
) -> None:
    """Raises `error` unless `tensors[name]` exists with this shape (None = any length)."""
    if name not in tensors:
        raise error(f"{path}: tensor '{name}' is missing.")
    got = tuple(tensors[name].shape)
    fits = len(got) == len(shape) and all(w is None or w == g for w, g in zip(shape, got, strict=True))
    if not fits:
        wanted = "[" + ", ".join("any" if n is None else str(n) for n in shape) + "]"
        raise error(f"{path}: tensor '{name}' has shape {list(got)}, expected {wanted}.")


def load_module(
    path: Path | str,
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    error: type[SyncTalkError] = AvatarError,
) -> None:
    """Copies tensors into a module that was built from the file's settings: every name and shape must fit.

    Raises:
        AvatarError (or `error`): a tensor missing, too many, or of another shape; file and tensor are named.
    """
    wanted = module.state_dict()
    for name, tensor in wanted.items():
        check_shape(path, name, tensors, tensor.shape, error)
    for name in tensors:
        if name not in wanted:
            raise error(f"{path}: tensor '{name}' does not belong to this kind of file.")
    module.load_state_dict({name: tensors[name].to(wanted[name].dtype) for name in wanted})
