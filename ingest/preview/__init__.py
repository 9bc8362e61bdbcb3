"""What an ingest would take: `catalog plan`.

overview                                   the page
foreseen                                   what a published run has already
cost, phases                               memory and seconds of jobs, and of every phase
rehearsal                                  a small model goes through the very code
reading_rates, sum_rates, write_rates      what is measured
"""
