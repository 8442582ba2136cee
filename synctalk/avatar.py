"""An avatar: a folder that is also a Hugging Face model repository (DESIGN: the avatar folder)."""

import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synctalk import avatar_files
from synctalk.assets import assets_folder
from synctalk.errors import AvatarError
from synctalk.tensor_file import read_tensors
from synctalk.video import VideoReader

HUB_FILES = [
    avatar_files.DESCRIPTION,
    avatar_files.CARD,
    *avatar_files.REQUIRED_FILES,
    *avatar_files.OPTIONAL_FILES,
    *avatar_files.REPORT_FILES,
]


class Avatar:
    """A trained presenter, read-only. Parts are loaded when first used.

    Attributes:
        folder: where the files lie.
        description: the contents of `avatar.json`.

    Args:
        folder: an avatar folder.
        verify: compare every file with its checksum (about 30 ms for 25 MB).

    Raises:
        AvatarError: anything about the folder is wrong; the message names the file and the field.
    """

    def __init__(self, folder: Path | str, verify: bool = True) -> None:
        self.folder = Path(folder)
        self.description = avatar_files.read_description(self.folder)
        if verify:
            avatar_files.check_files(self.folder, self.description)
        frames = self.frames
        path = self.folder / "motion.safetensors"
        self._motion, _ = read_tensors(
            path,
            {
                "viewmats": (frames, 4, 4),
                "blendshapes": (frames, 52),
                "crop_boxes": (frames, 4),
                "stretches": (None, 2),
            },
        )
        _check_motion(path, self._motion, frames)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        revision: str | None = None,
        *,
        token: str | None = None,
        cache_dir: Path | str | None = None,
        verify: bool = True,
    ) -> "Avatar":
        """The avatar of that name.

        Args:
            name: a folder, the name of a bundled avatar ('ben'), or a hub id ('owner/name').
            revision: branch, tag or commit of the hub repository.
            token: for private hub repositories.
            cache_dir: where hub files are kept; None uses the hub's own cache.
            verify: compare every file with its checksum.

        Raises:
            AvatarError: there is no such avatar, or its folder is damaged.
        """
        if Path(name).is_dir():
            return cls(name, verify)
        bundled = assets_folder() / "avatars" / str(name)
        if str(name) in cls.available():
            return cls(bundled, verify)
        if isinstance(name, str) and name.count("/") == 1 and not name.startswith((".", "/", "~")):
            return cls(_download(name, revision, token, cache_dir), verify)
        raise AvatarError(
            f"There is no avatar '{name}'. Give a folder, a hub id like owner/name, or one of: "
            f"{', '.join(cls.available()) or 'none are bundled'}."
        )

    @staticmethod
    def available() -> list[str]:
        """Names of the bundled avatars."""
        folder = assets_folder() / "avatars"
        return sorted(path.parent.name for path in folder.glob(f"*/{avatar_files.DESCRIPTION}"))

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.description["name"])

    @property
    def fps(self) -> float:
        """Frames per second of the source."""
        return float(self.description["fps"])

    @property
    def frames(self) -> int:
        """Number of source frames, T."""
        return int(self.description["frames"])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of what is rendered (the crop)."""
        width, height = self.description["size"]
        return int(width), int(height)

    @property
    def K(self) -> Tensor:
        """Intrinsics of the crop, float32 [3,3] px."""
        camera = self.description["camera"]
        return torch.tensor(
            [[camera["fx"], 0, camera["cx"]], [0, camera["fy"], camera["cy"]], [0, 0, 1]], dtype=torch.float32
        )

    @property
    def viewmats(self) -> Tensor:
        """Head pose of each source frame, world-to-camera, float32 [T,4,4] (10 cm)."""
        return self._motion["viewmats"].float()

    @property
    def blendshapes(self) -> Tensor:
        """The 52 coefficients of each source frame, float32 [T,52] in [0,1]."""
        return self._motion["blendshapes"].float()

    @property
    def torso_px(self) -> Tensor | None:
        """Where the torso is in each source frame against frame 0, float32 [T,2] px; None if unknown."""
        torso = self._motion.get("torso_px")
        return None if torso is None else torso.float()

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """Unbroken stretches of the source as (start, stop); time jumps between them."""
        return [(int(start), int(stop)) for start, stop in self._motion["stretches"].tolist()]

    @property
    def crop(self) -> tuple[int, int, int, int]:
        """x, y, width, height in px of the rendered crop inside the source frame."""
        x0, y0, x1, y1 = self._motion["crop_boxes"][0].tolist()
        return int(x0), int(y0), int(x1 - x0), int(y1 - y0)

    @property
    def gauge(self) -> dict[str, Tensor]:
        """What fixes this avatar's canonical frame, for tracking other videos of the same person."""
        return {
            key.removeprefix("gauge."): value
            for key, value in self._motion.items()
            if key.startswith("gauge.")
        }

    @property
    def consent(self) -> dict[str, Any]:
        """Who agreed, how, when, to what."""
        return dict(self.description["consent"])

    @property
    def licence(self) -> dict[str, str]:
        """`id` and `text` (with the attribution to show)."""
        return dict(self.description["licence"])

    @property
    def grain(self) -> float:
        """Noise of its footage that the rendered face gets back, standard deviation in grey levels of 255."""
        return float(self.description.get("grain", 0.0))

    @property
    def voice(self) -> str | None:
        """The voice that reads texts for it, by name; None for an avatar that states none."""
        voice = self.description.get("voice")
        return None if voice is None else str(voice)

    @property
    def synthetic(self) -> bool:
        """True for a person who does not exist."""
        return bool(self.consent.get("synthetic", False))

    @property
    def thumbnail(self) -> Path | None:
        """A small picture for galleries, or None."""
        path = self.folder / "thumbnail.jpg"
        return path if path.is_file() else None

    def expression_limits(self) -> tuple[Tensor, Tensor]:
        """Rest (10th percentile) and reach (98th) of each coefficient over the source, float32 [52] each."""
        limits = torch.quantile(self.blendshapes, torch.tensor([0.1, 0.98]), dim=0)
        return limits[0], limits[1]

    @cached_property
    def source(self) -> VideoReader:
        """The source frames; `.frame(i)` gives uint8 RGB [H,W,3], quickly in either direction."""
        return self._video("source.mp4", "rgb24", None)

    @cached_property
    def _mattes(self) -> VideoReader:
        width, height = self.size
        return self._video("mattes.mp4", "gray", (3 * width, height))

    def _video(self, name: str, pixel_format: str, size: tuple[int, int] | None) -> VideoReader:
        reader = VideoReader(self.folder / name, pixel_format)
        if len(reader) != self.frames:
            raise AvatarError(
                f"{self.folder / name} has {len(reader)} frames, but field 'frames' of avatar.json says "
                f"{self.frames}."
            )
        if size is not None and (reader.width, reader.height) != size:
            raise AvatarError(
                f"{self.folder / name} is {reader.width}x{reader.height}, expected {size[0]}x{size[1]} from "
                "field 'size' of avatar.json."
            )
        return reader

    def mattes(self, index: int) -> np.ndarray:
        """Soft mattes of a source frame: face, head (face and hair), person; uint8 [3,H,W]; cut at 128."""
        width, height = self.size
        return self._mattes.frame(index).reshape(height, 3, width).transpose(1, 0, 2)

    def renderer(self) -> Any:
        """A `portrait.renderer.PortraitRenderer` for this avatar's size and camera."""
        from synctalk.portrait.renderer import PortraitRenderer

        return PortraitRenderer(self.portrait(), *self.size, self.K)

    def portrait(self) -> Any:
        """The trained portrait model with the attention of the Face-Sync Controller in it."""
        from synctalk.face_sync.attention import FacialAwareAttention, TemporalAudioAttention
        from synctalk.portrait.model import load_portrait

        return load_portrait(
            self.folder / "portrait.safetensors",
            make_temporal=TemporalAudioAttention,
            make_facial=FacialAwareAttention,
        )

    @cached_property
    def torso(self) -> Any | None:
        """The torso restorer fine-tuned for this avatar, or None."""
        path = self.folder / "torso.safetensors"
        if not path.is_file():
            return None
        from synctalk.torso.restorer import TorsoRestorer

        return TorsoRestorer.load(path)

    @cached_property
    def expression(self) -> Any | None:
        """The codebook that brings any coefficients into this avatar's range, or None."""
        path = self.folder / "expression.safetensors"
        if not path.is_file():
            return None
        from synctalk.expression.codebook import Codebook

        return Codebook.load(path)

    def save_pretrained(self, folder: Path | str) -> Path:
        """Copies the avatar, with card and report, into a folder of its own.

        Raises:
            AvatarError: the folder already holds other files.
        """
        target = Path(folder)
        if target.exists() and any(target.iterdir()):
            raise AvatarError(f"{target} is not empty. Give a new folder.")
        target.mkdir(parents=True, exist_ok=True)
        for path in self.files():
            copy = target / path.relative_to(self.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        return target

    def files(self) -> list[Path]:
        """The files that belong to it, and no others that may lie in the folder."""
        return sorted({path for pattern in HUB_FILES for path in self.folder.glob(pattern) if path.is_file()})

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = True,
        revision: str | None = None,
        token: str | None = None,
        message: str | None = None,
        dry_run: bool = False,
        api: Any | None = None,
    ) -> str | list[str]:
        """Uploads the avatar to a Hugging Face model repository (made if it is not there).

        Args:
            repo_id: 'owner/name'.
            private: a new repository is private unless this is False.
            revision: branch to commit to.
            token: a write token; None uses the one `hf auth login` keeps.
            message: commit message.
            dry_run: send nothing; return the files that would go.
            api: a `huggingface_hub.HfApi`, for tests.

        Returns:
            The address of the commit, or with `dry_run` the file names.

        Raises:
            AvatarError: the id is not 'owner/name', a file is damaged, or the hub refused.
        """
        if repo_id.count("/") != 1:
            raise AvatarError(f"'{repo_id}' is no hub id; it must look like owner/name.")
        avatar_files.check_files(self.folder, self.description)
        names = [path.relative_to(self.folder).as_posix() for path in self.files()]
        if dry_run:
            return names
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        hub = api or HfApi(token=token, library_name="synctalk")
        try:
            hub.create_repo(repo_id, repo_type="model", private=private, exist_ok=True)
            commit = hub.upload_folder(
                repo_id=repo_id,
                folder_path=self.folder,
                repo_type="model",
                revision=revision,
                commit_message=message or f"Avatar {self.name}",
                allow_patterns=names,
            )
        except (HfHubHTTPError, OSError) as reason:
            raise AvatarError(f"The hub did not take {self.name} as {repo_id}: {reason}") from reason
        return str(commit.commit_url)


def _check_motion(path: Path, motion: Mapping[str, Tensor], frames: int) -> None:
    """What no shape can tell about the source motion."""
    bottom = motion["viewmats"][:, 3].float()
    if not torch.allclose(bottom, torch.tensor([0.0, 0.0, 0.0, 1.0]).expand_as(bottom)):
        raise AvatarError(f"{path}: tensor 'viewmats' does not hold rigid poses (last row 0 0 0 1).")
    if "torso_px" in motion and tuple(motion["torso_px"].shape) != (frames, 2):
        raise AvatarError(f"{path}: tensor 'torso_px' must be [{frames}, 2].")
    edges = motion["stretches"].tolist()
    starts = [0, *(stop for _, stop in edges[:-1])]
    if (
        not edges
        or [s for s, _ in edges] != starts
        or edges[-1][1] != frames
        or any(a >= b for a, b in edges)
    ):
        raise AvatarError(f"{path}: tensor 'stretches' does not cover the {frames} frames in order.")


def _download(repo_id: str, revision: str | None, token: str | None, cache_dir: Path | str | None) -> Path:
    """A hub repository's files, from the cache where they are already there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                repo_id,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                allow_patterns=HUB_FILES,
                library_name="synctalk",
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as reason:
        at = f" at revision {revision}" if revision else ""
        raise AvatarError(f"Avatar {repo_id}{at} cannot be had from the hub: {reason}") from reason
