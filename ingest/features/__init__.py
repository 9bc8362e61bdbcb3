"""Features of tokens and positions that explain neurons (SPEC §5): vocabulary, single words, topics; and how well they do.

vocabulary, word_lists, unigrams, topics, topic_files    the features
of_corpus                                                all of those of one corpus
scores, divisions, explanations                          the best ones of a neuron, from sums
"""
