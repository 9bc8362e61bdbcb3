"""Tables that say what there is: tokenizers, models, neurons, corpora."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from catalog.schema.base import check, column, index, refers, table, unique

OF_MODELS = "(SELECT model_id FROM run_models WHERE run_id = :run_id)"
OF_CORPUS = "(SELECT corpus_id FROM runs WHERE id = :run_id)"
OF_TOKENIZERS = f"(SELECT tokenizer_id FROM models WHERE id IN {OF_MODELS})"
"""What a run uses, by key."""

tokenizers = table(
    "tokenizers",
    column("id", Integer, "Surrogate key.", Identity(), key=True),
    column("sha256", Text, "sha256 of all that decides token ids or bytes; equal tokenizers share a row."),
    column("n_tokens", Integer, "Token ids that the tokenizer can produce.", check("n_tokens_positive", "n_tokens > 0")),
    column("bos_id", Integer, "Id of BOS, put before rows that begin with it; NULL if there is none.", null=True),
    column("newline_id", Integer, "The one id whose bytes are a newline alone; NULL if there is none.", null=True),
    unique("sha256", serves="publication: whether the tokenizer is known"),
    comment="Tokenizers. Models of one run share one.",
    serves="the joins of models, corpora and tokens with their tokenizer",
    used=f"t.id IN {OF_TOKENIZERS}",
    hashed="once",
)

models = table(
    "models",
    column("id", Integer, "Surrogate key.", Identity(), key=True),
    column("name", Text, "Name given at ingest, by default the last part of the folder or hub name."),
    column("revision", Text, "Revision on the hub; empty for a local folder.", server_default=""),
    column("model_family", Text, "The group of seeds of one architecture that the model belongs to."),
    column("seed", BigInteger, "Seed of the training, where known.", null=True),
    column("seed_varies", Text, "What the seed changes (initialisation, data order, both), where known.", null=True),
    column("architecture", Text, "Model type as in config.json: gpt2, gpt_neox, opt."),
    column("activation_function", Text, "Nonlinearity between pre and post, as configured."),
    column("n_layers", SmallInteger, "Transformer blocks.", check("n_layers_positive", "n_layers > 0")),
    column("d_model", Integer, "Width of the residual stream."),
    column("d_mlp", Integer, "Neurons per layer.", check("d_mlp_positive", "d_mlp > 0")),
    column("n_heads", Integer, "Attention heads per layer."),
    column("d_head", Integer, "Width of a head."),
    column("d_vocab", Integer, "Columns of the unembedding, padding included."),
    column("n_ctx", Integer, "Longest row that the model reads, in tokens."),
    column("tokenizer_id", Integer, "Its tokenizer.", refers("tokenizers.id")),
    column("weights_sha256", Text, "sha256 over names, shapes and fp32 bytes of the raw parameters, -0 as 0."),
    column("weight_processing", Text, "How the weights were folded and centred (SPEC 0.2)."),
    column("source", Text, "Folder, GGUF file or hub name that it was read from."),
    column("behaviour", JSONB, "What the config makes the model compute: activation, eps, heads, rotary keys and the like."),
    column("identity", Text, "sha256 over weights_sha256 and behaviour; equal for equal models, whatever they are called."),
    column(
        "control_of",
        Text,
        "Of a control: identity of the model whose neurons' input weights it has permuted. NULL of models that readers see.",
        null=True,
    ),
    column(
        "training",
        Text,
        "Name of the training that it is a step of: its own name, with what the revision says beside the step, such as a seed; "
        "NULL where step is.",
        null=True,
    ),
    column(
        "step", Integer, "Optimiser steps of its training so far, as revision, name or folder say; NULL if unknown.", null=True
    ),
    column(
        "init_of",
        Integer,
        "The published model at step 0 that it begins with: of the same training and seed. NULL of step 0 itself, where step "
        "is NULL, and where the catalog has no such model.",
        refers("models.id"),
        null=True,
    ),
    column(
        "gated",
        Boolean,
        "Its neurons have gates: post = act(pre) * u, pre is what the gate reads, and u what the input weights read.",
        server_default=text("false"),
    ),
    column(
        "quantisation",
        Text,
        "Of a GGUF file: how many of its tensors are stored in each type. Weights, and all statistics, are of the values that "
        "they stand for. NULL of other checkpoints.",
        null=True,
    ),
    unique("name", "revision", serves="ingest: whether a name and revision are taken"),
    comment="Language-model checkpoints, one row per checkpoint at one revision.",
    serves="the joins of views with the model",
    used=f"t.id IN {OF_MODELS}",
    hashed="once",
)

model_aliases = table(
    "model_aliases",
    column("name", Text, "Another name, with @revision if it was given one; of no other model.", key=True),
    column("model_id", Integer, "The model that it stands for.", refers("models.id", cascade=True)),
    column("said_at", DateTime(timezone=True), "When an ingest first met the model by this name.", server_default=func.now()),
    column("training", Text, "As of models, where this name says a step; else NULL.", null=True),
    column("step", Integer, "As of models, where this name says one: the model has the very weights of that step.", null=True),
    comment="Other names by which models can be asked for: the catalog had them when an ingest named them so.",
    serves="every question about a model: the model that another of its names stands for",
)
index("ix_model_aliases_model_id", "models: the other names of each", model_aliases.c.model_id)

COUNTED_DISTINCT = 256
"""Distinct values of a tensor up to which they are counted."""

model_tensors = table(
    "model_tensors",
    column("model_id", Integer, "The model.", refers("models.id", cascade=True), key=True),
    column("name", Text, "Name of the parameter in the raw model; of tied ones the first.", key=True),
    column("shape", ARRAY(Integer), "Its dimensions, in numbers; empty of a single value."),
    column("sha256", Text, "sha256 of its values in order, in fp32 (4 bytes each, little-endian), -0 as 0."),
    column("n_distinct", SmallInteger, f"Distinct values, counted up to {COUNTED_DISTINCT}."),
    comment="The parameters of each model, by what they hold; none of controls.",
    serves="shared_tensors and lineages: the tensors of a model",
    used=f"t.model_id IN {OF_MODELS}",
    hashed="once",
)
index("ix_model_tensors_sha256", "ingest and shared_tensors: which other models share a tensor", model_tensors.c.sha256)

neurons = table(
    "neurons",
    column("id", Integer, "Surrogate key that every measured row points to.", Identity(), key=True),
    column("model_id", Integer, "Its model.", refers("models.id", cascade=True)),
    column("layer", SmallInteger, "Transformer block, from 0.", check("layer_not_negative", "layer >= 0")),
    column("index", Integer, "Position in d_mlp, from 0.", check("index_not_negative", '"index" >= 0')),
    unique("model_id", "layer", "index", serves="show, matches and similar: the neuron at a place"),
    comment="MLP neurons: identity only. Every measurement is in a table of its own.",
    serves="the joins of views with the neuron of a measured row",
    used=f"t.model_id IN {OF_MODELS}",
    hashed="once",
)

tokens = table(
    "tokens",
    column("tokenizer_id", Integer, "The tokenizer.", refers("tokenizers.id", cascade=True), key=True),
    column("token_id", Integer, "Id in the tokenizer.", key=True, autoincrement=False),
    column("text", Text, "Its bytes (without any, its name); NUL and what is no UTF-8 escaped as \\xNN, a backslash doubled."),
    column("bytes", LargeBinary, "The token's bytes, unescaped; NULL where its text is not known.", null=True),
    comment="The tokens of each tokenizer.",
    serves="top tokens and neuron_examples: the text of a token id",
    used=f"t.tokenizer_id IN {OF_TOKENIZERS}",
    hashed="once",
)
# hashed, for a text may be longer than a page of a B-tree takes
index("ix_tokens_by_text", "neuron_examples: the ids of a text", tokens.c.text, postgresql_using="hash")

corpora = table(
    "corpora",
    column("id", Integer, "Surrogate key.", Identity(), key=True),
    column("name", Text, "Short name: the file's or data set's last part."),
    column("source", Text, "File or hub name that it was read from."),
    column("revision", Text, "Revision on the hub.", null=True),
    column("split", Text, "Split on the hub.", null=True),
    column("tokenizer_id", Integer, "The tokenizer it was cut with.", refers("tokenizers.id")),
    column("context_length", Integer, "Tokens per row, BOS included."),
    column("n_rows", Integer, "Rows of context_length tokens."),
    column("n_tokens", BigInteger, "Tokens, BOS included."),
    column("n_kept", BigInteger, "Positions that enter statistics: neither BOS, EOS, PAD nor newline (SPEC 0.3, M_corr)."),
    column(
        "token_sha256",
        Text,
        "sha256 of the token ids and subsets of all rows in order, and of the tokenizer's sha256. Of the first rows of a "
        "corpus, which a control reads: of the sha256 of that corpus and their number.",
    ),
    column("has_subsets", Boolean, "Whether documents carried subset names."),
    # what is NULL was published before documents were counted
    column("n_documents_kept", BigInteger, "Documents that were read whole, when the source was first read.", null=True),
    column(
        "n_documents_repaired",
        BigInteger,
        "Of those kept: lone surrogates in them, which are no characters, were read as U+FFFD.",
        null=True,
    ),
    column("n_documents_null", BigInteger, "Documents dropped because their text is NULL or absent.", null=True),
    column("n_documents_not_text", BigInteger, "Documents dropped because numbers, lists and the like are no text.", null=True),
    column("n_documents_empty", BigInteger, "Documents dropped because they hold nothing, or a little white space.", null=True),
    column("n_documents_short", BigInteger, "Documents dropped because they have 50 characters or fewer.", null=True),
    column("n_files_left_out", Integer, "Files of the source's folder that were not read; the run names them.", null=True),
    column(
        "n_documents",
        BigInteger,
        "Documents with a token in the rows; NULL for the first rows of a corpus that a control reads.",
        null=True,
    ),
    column("begins_with_bos", Boolean, "Rows begin with the tokenizer's BOS, else with text.", server_default=text("true")),
    unique("token_sha256", serves="publication: whether the corpus is known"),
    comment="Tokenised, packed and hashed token sets (SPEC 1).",
    serves="the joins of runs with their corpus",
    used=f"t.id = {OF_CORPUS}",
    hashed="once",
)

corpus_subsets = table(
    "corpus_subsets",
    column("corpus_id", Integer, "The corpus.", refers("corpora.id", cascade=True), key=True),
    column("subset", Text, "Name of the subset.", key=True),
    column("n_rows", Integer, "Its rows."),
    comment="Subsets of a corpus; a row never mixes subsets.",
    serves="runs show: the subsets of a corpus",
    used=f"t.corpus_id = {OF_CORPUS}",
    hashed="once",
)

token_counts = table(
    "token_counts",
    column("corpus_id", Integer, "The corpus.", refers("corpora.id", cascade=True), key=True),
    column("token_id", Integer, "Id in the corpus's tokenizer.", key=True, autoincrement=False),
    column("count", BigInteger, "Kept positions that hold the token."),
    comment="How often each token occurs at the kept positions of a corpus; absent means never.",
    serves="how often a token occurs in a corpus",
    used=f"t.corpus_id = {OF_CORPUS}",
    hashed="once",
)
