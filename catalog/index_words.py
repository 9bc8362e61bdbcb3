"""What the indexes of keys serve; other indexes say it where they are declared (`catalog.base.index`)."""

from collections.abc import Iterable

from sqlalchemy import Table

import catalog.schema  # noqa: F401  (fills the metadata)
from catalog.base import EXTENSION, metadata

_SHOW = "show, and the views that have a row per neuron: a run's row of one neuron"

KEYS = {
    **{
        f"pk_{table}": _SHOW
        for table in (
            "activation_statistics weight_statistics universality position_statistics ngram_statistics histograms"
            " distribution_statistics late_statistics letter_scores class_activity head_compositions"
        ).split()
    },
    "pk_runs": "runs show, and the joins of views with the run that measured a row",
    "pk_run_models": "runs show, and the view members: the models of a run",
    "pk_run_pairs": "extending a run: the model pairs that it has",
    "pk_run_parts": "runs list, and extending a run: the parts that it has",
    "pk_run_jobs": "runs watch and workers: the jobs of a run in order",
    "pk_run_job_results": "publication: what the jobs of a run found",
    "pk_run_checksums": "verify: the checksum of each table of a run",
    "pk_run_topics": "topics: the topics of a run in order",
    "pk_tokenizers": "the joins of models, corpora and tokens with their tokenizer",
    "uq_tokenizers_sha256": "publication: whether the tokenizer is known",
    "pk_models": "the joins of views with the model",
    "uq_models_name_revision": "ingest: whether a name and revision are taken",
    "pk_model_aliases": "every question about a model: the model that another of its names stands for",
    "pk_neurons": "the joins of views with the neuron of a measured row",
    "uq_neurons_model_id_layer_index": "show, matches and similar: the neuron at a place",
    "pk_tokens": "top tokens and neuron_examples: the text of a token id",
    "pk_corpora": "the joins of runs with their corpus",
    "uq_corpora_token_sha256": "publication: whether the corpus is known",
    "pk_corpus_subsets": "runs show: the subsets of a corpus",
    "pk_token_counts": "how often a token occurs in a corpus",
    "pk_corpus_rows": "neuron_examples: the row of the corpus that an example is in",
    "pk_pairs": "matches and neuron_matches: the partners of a neuron in a run",
    "pk_universality_by_model": "show and neuron_universality_by_model: a neuron's best match in each other model",
    "pk_neuron_groups": "groups: the group of a member",
    "pk_group_members": "groups: the members of a group",
    "uq_group_members_run_id_neuron_id": "neuron_group_members: the group that a neuron is in",
    "pk_top_tokens": "show: a neuron's top tokens in order",
    "pk_logit_effects": "show: the tokens that a neuron promotes and suppresses, in order",
    "pk_subset_statistics": "show and neuron_subsets: a neuron on each subset",
    "pk_detected_ngrams": "token_detectors: a neuron's detected n-grams in order",
    "pk_examples": "show and neuron_examples: a neuron's examples, kind by kind in order",
    "pk_features": "the joins of explanations with their feature",
    "uq_features_name": "publication: whether a feature is known",
    "pk_feature_tokens": "topics: the tokens that have a feature",
    "pk_explanations": "show and neuron_explanations: the features that explain a neuron",
    "pk_next_token_statistics": "show and neuron_next_tokens: the classes of next tokens of a neuron",
    "pk_rule_versions": "relabel: the newest version of the rules",
    "pk_rules": "rules list and relabel: the thresholds of a version",
    "pk_labels": "show: the labels of a neuron",
    "pk_label_totals": "families and the count of find: sums of a model in a run",
    "pk_layer_summaries": "layers: the layers of a model in a run",
    "pk_depth_summaries": "depth: the layers of a model in a run",
    "pk_logit_explanations": "show and neuron_logit_explanations: the features that explain a neuron's effect on the logits",
    "pk_similar_neurons": "show and neuron_similarities: a neuron's nearest and most opposite in order",
    "pk_neuron_vectors": "similar: the vector of a neuron",
    "pk_head_scores": "show and neuron_head_scores: the heads that a neuron moves",
    "pk_head_baselines": "head_summaries: what h is by chance on the heads of a model",
    "pk_head_norms": "head_summaries: what the heads of a model write",
    "pk_path_ablations": "neuron_path_ablations: a neuron's ablations from heads",
    "pk_ablation_relations": "neuron_path_ablations: how the changes of an ablation are related",
    "pk_interventions": "show and neuron_interventions: what was measured with a neuron held",
}
"""By the name of the constraint."""


def comments() -> dict[str, str]:
    """The comment of every index of every table, by name.

    Raises:
        KeyError: an index has no words, or words have no index.
    """
    said = _comments(metadata.sorted_tables)
    if unknown := set(KEYS) - set(said):
        raise KeyError(f"there is no index {min(unknown)}, for which catalog/index_words.py has words")
    return dict(sorted(said.items()))


def statements(tables: Iterable[Table] | None = None) -> list[str]:
    """COMMENT ON INDEX of every index, or of those of some tables."""
    said = comments() if tables is None else _comments(tables)
    return [f"COMMENT ON INDEX {name} IS '{words.replace(chr(39), 2 * chr(39))}'" for name, words in said.items()]


def _comments(tables: Iterable[Table]) -> dict[str, str]:
    said: dict[str, str] = {}
    for table in tables:
        said |= {str(index.name): index.info["comment"] for index in table.indexes}
        keys = [str(key.name) for key in table.constraints if str(key.name).startswith(("pk_", "uq_"))]
        own = f"what is asked of {table.name} by its key"
        said |= {key: f"Serves {own if table.info.get(EXTENSION) else KEYS[key]}." for key in keys}
    return said
