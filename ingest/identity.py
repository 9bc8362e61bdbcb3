"""What makes two runs the same: models, tokens, settings and the definition versions of the statistics used."""

import hashlib
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from catalog import parts
from catalog.errors import InputError
from ingest.settings import ABLATION_PAIRS, INTERVENTION_TOKENS, IngestSettings


def number_settings(settings: IngestSettings) -> dict[str, object]:
    """The settings that change a number. Device, memory and batch size do not: a plan never changes a result."""
    if not settings.needs_corpus:
        # h of rotary positions is a mean over those of a row
        return {"context": settings.context} if "attention" in settings.parts else {}
    return {
        "seed": settings.seed,
        "precision": settings.precision,
        "baseline_draws": settings.baseline_draws,
        "top_k": settings.top_k,
        "min_count": settings.min_count,
        "ngram_tokens": settings.ngram_tokens,
        "keep_eos": settings.keep_eos,
        "spacy_model": settings.spacy_model,
        "syntax_subsets": sorted(settings.syntax_subsets),
        "topics": None if settings.topics is None else _sha256(Path(settings.topics)),
        **_of_roles(settings),
    }


def _of_roles(settings: IngestSettings) -> dict[str, object]:
    """Only where they are not the usual ones: runs from before there were roles are the same runs."""
    chosen = {"intervention_tokens": settings.intervention_tokens, "ablation_pairs": settings.ablation_pairs}
    usual = {"intervention_tokens": INTERVENTION_TOKENS, "ablation_pairs": ABLATION_PAIRS}
    return {} if chosen == usual else {"roles": chosen}


def _sha256(path: Path) -> str:
    """Raises:
    InputError: the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"--topics {path} cannot be read ({error.strerror}); give a CSV file.") from error


def run_identity(models: list[str], tokenizer: str, token_sha256: str | None, settings: IngestSettings) -> str:
    """sha256 over the set of models, the tokens and the settings; parts carry their definition versions themselves.

    Args:
        models: identity of each, of weights and behaviour.
        tokenizer: its sha256; the vocabulary enters features even where no token is read.
        token_sha256: of the corpus, if one is read.
    """
    content = {
        "models": sorted(models),
        "tokenizer": tokenizer,
        "tokens": token_sha256,
        "settings": number_settings(settings),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def versions_of(names: Iterable[str]) -> dict[str, int]:
    """Definition versions of the parts."""
    return {name: parts.part_named(name).version for name in names}


def code_version() -> str:
    """The git commit of the running code, `-dirty` if files differ from it; `unknown` outside a checkout."""
    root = Path(__file__).parent.parent
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
