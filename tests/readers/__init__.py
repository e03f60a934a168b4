"""Every reader of files from outside: whole files, damage that knows the format, and what the bytes really say.

`says` never uses the reader's own code. For formats with a checksum it verifies that, so a file that is read although
its content is damaged is a finding; for those without one, what was read must be what is written there.
"""

import gzip

from lenumba.engine.common.errors import ConfigError
from lenumba.engine.config.recipes import recipe_names, recipe_text
from lenumba.engine.data.idx import read_idx
from lenumba.engine.data.npz import read_npz
from lenumba.engine.models.importing import read_content

from .archives import hostile_idx, hostile_npz, idx_plain, informed_idx, informed_npz, npz_seeds, says_idx, says_npz
from .base import Reader, same
from .damage import damaged
from .pictures import hostile_jpeg, hostile_png, informed_png, picture_seeds, read_picture, says_anything, says_png
from .tensors import (
    checkpoint_seeds,
    hostile_safetensors,
    import_seeds,
    informed_safetensors,
    read_checkpoint,
    says_checkpoint,
    says_content,
)
from .yaml_text import WORDS, hostile_yaml, informed_yaml, read_yaml, says_yaml

__all__ = ["READERS", "Reader", "damaged", "same"]

READERS = {
    reader.name: reader
    for reader in (
        Reader(
            *("idx", ".gz", lambda path: read_idx(path, 3), says_idx),
            lambda: [gzip.compress(idx_plain(seed=k), mtime=0) for k in range(3)] + [idx_plain(), idx_plain(1)],
            *(informed_idx, hostile_idx),
            tokens=(b"\x1f\x8b\x08", b"\0\0\x08\x03", b"\0\0\x08\x01", b"\0\0\x0d\x03", b"\xff" * 4),
        ),
        Reader(
            *("png", ".png", read_picture, says_png, lambda: picture_seeds("PNG"), informed_png, hostile_png),
            tokens=(b"IHDR", b"IDAT", b"IEND", b"tRNS", b"PLTE", b"acTL", b"\x89PNG\r\n\x1a\n"),
        ),
        Reader(
            *("jpeg", ".jpg", read_picture, says_anything, lambda: picture_seeds("JPEG")),
            *(lambda rng, content: damaged(rng, [content]), hostile_jpeg),
            tokens=(b"\xff\xd8", b"\xff\xda", b"\xff\xc0", b"\xff\xc2", b"\xff\xe1\xff\xffExif\0\0", b"\xff\xd9"),
        ),
        Reader(
            *("npz", ".npz", lambda path: list(read_npz(path)[:4]), says_npz, npz_seeds, informed_npz, hostile_npz),
            tokens=(b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\x93NUMPY", b"train_images.npy"),
        ),
        Reader(
            *("checkpoint", ".safetensors", read_checkpoint, says_checkpoint, checkpoint_seeds),
            *(informed_safetensors, hostile_safetensors),
            tokens=(b'"F32"', b'"F16"', b'"shape":[', b'"__metadata__"', b'"data_offsets"', b"null", b'"', b"{", b"}"),
        ),
        Reader(
            *("import", ".safetensors", lambda path: tuple(read_content(path)), says_content, import_seeds),
            *(informed_safetensors, hostile_safetensors),
            tokens=(b'"F32"', b'"BF16"', b'"shape":[', b'"__metadata__"', b"PK\3\4", b"\x08\x07", b"null", b'"'),
        ),
        Reader(
            *("yaml", ".yaml", read_yaml, says_yaml, lambda: [recipe_text(name).encode() for name in recipe_names()]),
            *(informed_yaml, hostile_yaml, ConfigError),
            tokens=tuple(word.encode(errors="surrogatepass") for word in WORDS),
        ),
    )
}
