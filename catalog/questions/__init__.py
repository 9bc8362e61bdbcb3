"""What readers ask, a function each, answered with `catalog.answers.Rows`.

queries, universal, groups, neuron_page, partners, similar, findings, asked    the questions
why_empty                                                                     why there is no answer
known, statements                                                             what a question names, and pieces of statements
sql                                                                           any question, read only
"""
