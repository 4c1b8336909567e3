"""The shape of a small language model around one token mixer, and where its weights are from."""

from transformers import PreTrainedConfig


class NoctuaryConfig(PreTrainedConfig):
    """Configuration of `NoctuaryForCausalLM`.

    Attributes:
        ffn_width: hidden width of the feed-forward layers.
        trained_length: tokens of a sequence in training; the model takes any length.
        provenance: the candidate and the trial that the weights are from.
    """

    model_type = "noctuary"
    attribute_map = {  # noqa: RUF012 - as transformers has it
        "hidden_size": "d_model",
        "intermediate_size": "ffn_width",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    }

    vocab_size: int = 256
    d_model: int = 64
    n_heads: int = 2
    n_layers: int = 2
    ffn_width: int = 256
    trained_length: int | None = None
    provenance: dict | None = None
    tie_word_embeddings: bool = False
