"""Tables to which rows are added after their run is published: what somebody asks for, which is no part of the run."""

TABLES = ("interventions", "path_ablations", "ablation_relations")


def rows_of_run(table: str, alias: str) -> str:
    """SQL that says which rows of one of TABLES the run itself has written."""
    if table != "ablation_relations":
        return f"{alias}.purpose <> 'asked'"
    key = ", ".join(("run_id", "neuron_id", "head_layer", "head", "n_rows"))
    own = ", ".join(f"{alias}.{name}" for name in key.split(", "))
    return f"({own}) IN (SELECT {key} FROM public.path_ablations WHERE purpose <> 'asked')"
