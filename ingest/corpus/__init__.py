"""Corpora: from files or the hub to shuffled rows of tokens on disk, read in batches.

files, documents, json_lines, text_columns    where the text is, and every text that is none
tokenizer, token_bytes, special_texts         ids, bytes, identity of a tokenizer; special tokens that texts write out
bos                                           with what rows begin
tokenising, rows, meta, told                    rows of tokens, kept on disk; what was left out
batches, counts                               what is read of them: batches for models, counts in one pass
syntax                                        annotation by spaCy
"""
