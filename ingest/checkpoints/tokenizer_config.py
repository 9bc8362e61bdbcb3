"""What a tokenizer_config.json says that the library forgets where there is a tokenizer.json."""

from typing import Any

ADDS_BOS = "add_bos_token"
"""Whether BOS is put before texts."""


def keep_statements(tokenizer: Any, config: dict[str, Any]) -> None:
    """Put them where `said_of_bos` looks for them."""
    if config.get(ADDS_BOS) is not None:
        tokenizer.init_kwargs[ADDS_BOS] = bool(config[ADDS_BOS])


def said_of_bos(tokenizer: Any) -> bool | None:
    """Whether BOS is put before texts, by tokenizer_config.json; None where it says nothing."""
    said: bool | None = tokenizer.init_kwargs.get(ADDS_BOS)
    return said
