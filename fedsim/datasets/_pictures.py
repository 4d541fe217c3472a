"""Picture files: where they lie in a folder or an archive, and what they look like as bytes."""

import os
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from fedsim.datasets._files import broken, reading

Color = Literal["rgb", "grey"]
Encoded = Path | bytes
"""A picture file on disk, or its content."""

Pictures = dict[tuple[str, ...], Encoded]
"""Parts of the path below the folder → the picture, sorted by path."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".gif", ".webp", ".tif", ".tiff"}


def find_pictures(place: Path) -> Pictures | None:
    """The pictures below a folder or in a tar archive; None if `place` is neither file nor folder.

    Passed over is what has no picture's suffix or a name that starts with a dot; an outer folder
    that holds everything else is looked through.
    """
    with reading(place):
        if os.path.isdir(place):
            found: Pictures = {file.relative_to(place).parts: file for file in place.rglob("*")}
        elif os.path.isfile(place):
            found = _unpack(place)
        else:
            return None
    pictures = {key: found[key] for key in sorted(found) if _is_picture(key)}
    while len({key[0] for key in pictures}) == 1 and all(len(key) > 2 for key in pictures):
        pictures = {key[1:]: encoded for key, encoded in pictures.items()}
    return pictures


def decode(
    pictures: list[tuple[str, Encoded]], size: int, color: Color
) -> UInt8[Tensor, "n c h w"]:
    """The pictures, given as (place to show in an error, picture), scaled to `size` × `size`."""
    channels = 3 if color == "rgb" else 1
    images = torch.empty(len(pictures), channels, size, size, dtype=torch.uint8)
    for row, (place, encoded) in zip(images, pictures, strict=True):
        pixels = torch.from_numpy(_pixels(place, encoded, size, color))
        row.copy_(pixels.view(size, size, channels).permute(2, 0, 1))
    return images


def _unpack(archive: Path) -> Pictures:
    found: Pictures = {}
    with tarfile.open(archive) as content:
        for member in content:
            key = Path(member.name).parts
            if _is_picture(key) and (file := content.extractfile(member)):
                found[key] = file.read()
    return found


def _is_picture(key: tuple[str, ...]) -> bool:
    hidden = any(part.startswith(".") for part in key)
    return bool(key) and not hidden and Path(key[-1]).suffix.lower() in SUFFIXES


def _pixels(place: str, encoded: Encoded, size: int, color: Color) -> "np.ndarray":
    from PIL import Image

    file = BytesIO(encoded) if isinstance(encoded, bytes) else encoded
    with reading(place), Image.open(file) as picture:
        if picture.mode.startswith(("I", "F")):
            raise broken(place, f"has pixels of mode {picture.mode}, more than 8 bits a channel")
        plain = picture.convert("RGB" if color == "rgb" else "L")
        if plain.size != (size, size):
            plain = plain.resize((size, size), Image.Resampling.BILINEAR)
        return np.array(plain)
