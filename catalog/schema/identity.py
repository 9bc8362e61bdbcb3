"""Tables that say what there is: tokenizers, models, neurons, corpora."""

from sqlalchemy import BigInteger, Boolean, Identity, Integer, LargeBinary, SmallInteger, Table, Text, UniqueConstraint

from catalog.base import check, column, metadata, refers

tokenizers = Table(
    "tokenizers",
    metadata,
    column("id", Integer, "Surrogate key.", Identity(), key=True),
    column("sha256", Text, "sha256 of all that decides token ids or bytes; equal tokenizers share a row."),
    column("n_tokens", Integer, "Token ids that the tokenizer can produce.", check("n_tokens_positive", "n_tokens > 0")),
    column("bos_id", Integer, "Id put before every row."),
    column("newline_id", Integer, "The one id whose bytes are a newline alone; NULL if there is none.", null=True),
    UniqueConstraint("sha256"),
    comment="Tokenizers. Models of one run share one.",
)

models = Table(
    "models",
    metadata,
    column("id", Integer, "Surrogate key.", Identity(), key=True),
    column("name", Text, "Name given at ingest, by default the last part of the folder or hub name."),
    column("revision", Text, "Revision on the hub; empty for a local folder.", server_default=""),
    column("model_family", Text, "The group of seeds of one architecture that the model belongs to."),
    column("seed", Integer, "Seed of the training, where known.", null=True),
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
    column("weights_sha256", Text, "sha256 over names, dtypes, shapes and bytes of the raw parameters."),
    column("weight_processing", Text, "How the weights were folded and centred (SPEC 0.2)."),
    column("source", Text, "Folder or hub name that it was read from."),
    UniqueConstraint("name", "revision"),
    comment="Language-model checkpoints, one row per checkpoint at one revision.",
)

neurons = Table(
    "neurons",
    metadata,
    column("id", Integer, "Surrogate key that every measured row points to.", Identity(), key=True),
    column("model_id", Integer, "Its model.", refers("models.id", cascade=True)),
    column("layer", SmallInteger, "Transformer block, from 0.", check("layer_not_negative", "layer >= 0")),
    column("index", Integer, "Position in d_mlp, from 0.", check("index_not_negative", '"index" >= 0')),
    UniqueConstraint("model_id", "layer", "index"),
    comment="MLP neurons: identity only. Every measurement is in a table of its own.",
)

tokens = Table(
    "tokens",
    metadata,
    column("tokenizer_id", Integer, "The tokenizer.", refers("tokenizers.id", cascade=True), key=True),
    column("token_id", Integer, "Id in the tokenizer.", key=True, autoincrement=False),
    column("text", Text, "Its bytes (without any, its name); NUL and what is no UTF-8 escaped as \\xNN, a backslash doubled."),
    column("bytes", LargeBinary, "The token's bytes, unescaped; NULL where its text is not known.", null=True),
    comment="The tokens of each tokenizer.",
)

corpora = Table(
    "corpora",
    metadata,
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
    column("token_sha256", Text, "sha256 of the token ids and subsets of all rows in order, and of the tokenizer's sha256."),
    column("has_subsets", Boolean, "Whether documents carried subset names."),
    UniqueConstraint("token_sha256"),
    comment="Tokenised, packed and hashed token sets (SPEC 1).",
)

corpus_subsets = Table(
    "corpus_subsets",
    metadata,
    column("corpus_id", Integer, "The corpus.", refers("corpora.id", cascade=True), key=True),
    column("subset", Text, "Name of the subset.", key=True),
    column("n_rows", Integer, "Its rows."),
    comment="Subsets of a corpus; a row never mixes subsets.",
)

token_counts = Table(
    "token_counts",
    metadata,
    column("corpus_id", Integer, "The corpus.", refers("corpora.id", cascade=True), key=True),
    column("token_id", Integer, "Id in the corpus's tokenizer.", key=True, autoincrement=False),
    column("count", BigInteger, "Kept positions that hold the token."),
    comment="How often each token occurs at the kept positions of a corpus; absent means never.",
)
