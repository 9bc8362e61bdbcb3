"""No column of a view and no index goes without words, and no words without their column or index."""

import pytest

from catalog import parts
from catalog.parts.part import View
from catalog.schema.base import metadata
from catalog.views import index_words, overview, view_columns

SELECT = """SELECT m.run_id, n.layer, n."index" AS neuron, a.mean, (SELECT max(x, y) FROM public.pairs p) AS most,
       CASE WHEN a.var > 0 THEN 'a, b' ELSE ' FROM ' END AS sign, t.median_kurt
  FROM public.members m
  JOIN public.neurons n ON n.model_id = m.model_id
  LEFT JOIN public.activation_statistics AS_given ON true
  LEFT JOIN public.activation_statistics a ON a.run_id = m.run_id
 CROSS JOIN LATERAL (SELECT * FROM public.layer_summaries s WHERE s.run_id = m.run_id ORDER BY s.layer) t"""


def test_columns_are_read_from_the_statement():
    assert list(view_columns.columns_of(SELECT)) == [
        ("run_id", "m.run_id"),
        ("layer", "n.layer"),
        ("neuron", 'n."index"'),
        ("mean", "a.mean"),
        ("most", "(SELECT max(x, y) FROM public.pairs p)"),
        ("sign", "CASE WHEN a.var > 0 THEN 'a, b' ELSE ' FROM ' END"),
        ("median_kurt", "t.median_kurt"),
    ]


def test_words_come_from_the_view_then_the_name_then_the_table():
    parts.tables()
    said = view_columns.words_of("made_up", SELECT, {"most": "The most.", "sign": "Its sign."})
    assert said == {
        "run_id": view_columns.EVERYWHERE["run_id"],
        "layer": view_columns.EVERYWHERE["layer"],
        "neuron": view_columns.EVERYWHERE["neuron"],
        "mean": "Mean pre-activation (SPEC 3.1).",
        "most": "The most.",
        "sign": "Its sign.",
        "median_kurt": "Of the kurtosis of pre.",
    }


def test_a_column_without_words_is_refused(monkeypatch):
    silent = View("silent", "A view.", "SELECT m.run_id, count(*) AS heads\n  FROM {members} m")
    monkeypatch.setattr(overview, "OVERVIEW", (*overview.OVERVIEW, silent))
    with pytest.raises(KeyError, match=r"column heads of view silent needs words"):
        overview.statements()


@pytest.mark.parametrize("source", ["a.mean AS average", "abs(a.mean) AS mean", "b.mean"])
def test_what_is_no_column_of_a_table_needs_words_of_its_own(source):
    """A renamed column may mean something else, an inner query's alias is not the view's."""
    select = f"""SELECT {source} FROM public.activation_statistics a
 CROSS JOIN LATERAL (SELECT avg(b.mean) AS mean FROM public.activation_statistics b) t"""
    with pytest.raises(KeyError, match="needs words"):
        view_columns.words_of("made_up", select, {})


def test_words_without_a_column_are_refused(monkeypatch):
    (matrix,) = (view for view in overview.views() if view.name == "depth_matrix")
    said = View("depth_matrix", matrix.comment, matrix.select, {**matrix.words, "gone": "Gone."})
    monkeypatch.setattr(overview, "OVERVIEW", (*overview.OVERVIEW, said))
    with pytest.raises(KeyError, match="view depth_matrix has no column gone"):
        overview.statements()


def test_every_key_and_every_index_says_what_it_serves():
    said = index_words.comments()
    keys = {str(table.primary_key.name) for table in metadata.sorted_tables}
    assert keys <= set(said) and all(words.startswith("Serves ") and len(words) > 20 for words in said.values())
