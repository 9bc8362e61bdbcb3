"""A run's work as data: items of work, cut into jobs that fit into memory.

items       items, jobs and the plan
cut         which items go into which job
run_plan    the plan with what it stands on, as it is stored
"""
