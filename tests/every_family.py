"""The small published family with a neuron of each family of labels: what its rows lack is written into them."""

from sqlalchemy import Engine

from catalog.publishing.relabel import relabel
from tests.database.helpers import execute
from tests.every_role import write_roles
from tests.published import publish_small_family
from tests.published_rows import D_MLP, MODELS

RUNS = '[[1, 30, "high"], [31, 40, "low"], [41, 63, "high"]]'
LETTER = D_MLP + 10
TOPIC = "topic_court+judge+law#0123abcd"
CHANGES = {
    5: f"""UPDATE position_statistics SET mutual_information = 0.3, pattern = 'oscillatory', strength = 'strong',
           runs = '{RUNS}', coverage = 1, alternations = 2""",
    6: "UPDATE activation_statistics SET sparsity = 0",
    7: "UPDATE activation_statistics SET sparsity = 5e-7, n_tokens = 20000000",
    8: "UPDATE distribution_statistics SET bos_activation = 9, bos_ratio = 9",
    9: """UPDATE explanations SET held_out_variance_reduction = 0.4, shift = 'current', frequency_in = 0.3, frequency_out = 0.1,
          rectified_in = 1, rectified_out = 0.1, partial_effect = 0.8, partial_variance_reduction = 0.1, overlap = 0.5,
          feature_id = (SELECT id FROM features WHERE name = 'subset_code')""",
    10: """UPDATE explanations SET held_out_variance_reduction = 0.6, shift = 'current',
           feature_id = (SELECT id FROM features WHERE name = 'spacy_morph_plural')""",
    11: "UPDATE ngram_statistics SET cover_3 = 50, activations_3 = 420",
    15: "UPDATE weight_statistics SET in_out_sim = -0.7",
    LETTER: "UPDATE ngram_statistics SET cover_1 = 2",
}
"""What makes the neuron, by its flat index in the first model, one of another family."""
NEURON = """neuron_id = (SELECT n.id FROM neurons n JOIN models m ON m.id = n.model_id
                          WHERE m.name = :model AND n.layer = :layer AND n."index" = :place)"""


def publish_every_family(engine: Engine) -> int:
    """Publish, change and relabel; the run's id."""
    run = publish_small_family(engine)
    insert = "INSERT INTO features (name, family, ordinal, definition) VALUES (:name, :family, 9000, 'made up')"
    for name, family in (("spacy_morph_plural", "spacy_morph"), ("subset_code", "subset"), (TOPIC, "machine_topic")):
        execute(engine, insert, name=name, family=family)
    for part in ("syntax", "topics"):
        execute(engine, "INSERT INTO run_parts (run_id, part, definition_version) VALUES (:run, :part, 1)", run=run, part=part)
    own = "(SELECT id FROM features WHERE name = :topic)"
    execute(engine, f"INSERT INTO run_topics SELECT :run, 1, {own}", run=run, topic=TOPIC)
    execute(engine, f"INSERT INTO feature_tokens SELECT id, {own}, 4 FROM tokenizers", topic=TOPIC)
    for flat, change in CHANGES.items():
        execute(engine, f"{change} WHERE {NEURON}", **place(flat))
    execute(
        engine,
        f"""INSERT INTO detected_ngrams SELECT :run, n.id, 3, 1, '{{2,3,4}}', 410, 400, 0.5, 0.5, 90
              FROM neurons n WHERE {NEURON.replace("neuron_id", "n.id", 1)}""",
        run=run, **place(11),
    )  # fmt: skip
    unexplained = f"UPDATE explanations SET held_out_variance_reduction = 0.01 WHERE {NEURON}"
    execute(engine, unexplained, **(place(3) | {"model": MODELS[2]}))
    write_roles(engine, run)
    relabel(engine)
    return run


def place(flat: int) -> dict[str, object]:
    return {"model": MODELS[0], "layer": flat // D_MLP, "place": flat % D_MLP}
