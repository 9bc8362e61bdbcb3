"""What files were found to hold, so that a repeated command need not read them again.

entries    what is kept, and when it is believed
inputs     models and corpora of an ingest
"""
