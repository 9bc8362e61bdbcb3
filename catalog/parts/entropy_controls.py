"""Controls of candidates for entropy neurons: their table, and SQL that says how far a candidate stands out from its own.

A control is the candidate's own change of the residual stream, token by token, along the output weights of another neuron of
its layer; on the same tokens it is measured along its own. Of n controls, p is (1 + those that are as extreme) / (1 + n), to
one side; the false discovery rate is Benjamini and Hochberg's, over the candidates of a model.

As extreme is a control that would be of the family and changes entropy as much: scale and entropy move to the same side. Any
large change along directions that logits read makes predictions surer, but it does so with a larger scale.
"""

from sqlalchemy import BigInteger, Double, Integer

from catalog.schema.base import column, number, of_neuron, refers, table

entropy_controls = table(
    "entropy_controls",
    *of_neuron(),
    column("value", Double, "To what the candidate's post is fixed.", key=True),
    column(
        "along_neuron_id",
        Integer,
        "The neuron of its layer along whose output weights its change is written, as long as its own: another, or itself.",
        refers("neurons.id", cascade=True),
        key=True,
    ),
    number("entropy_delta", "Mean difference of the entropy to the model left alone, in nats."),
    number("scale_delta", "Mean difference of the final layer norm's denominator to the model left alone."),
    column("n_tokens", BigInteger, "Tokens in the means: of the candidate's, evenly taken, the same along all."),
    comment="What a candidate for an entropy neuron does, and would do if it wrote along others of its layer (DECISIONS).",
    serves="entropy_candidates: the controls of a candidate",
)


def tested(sign: str, value: str, condition: str = "true") -> str:
    """SQL: run_id, model_id and neuron_id of each candidate, how far it stands out to one side, and among how many candidates.

    One of which a change is undefined, or that has no control, is not among them.

    Args:
        sign: + or -: whether it is to make predictions less sure, or surer.
        value: SQL: at which value of post.
        condition: SQL: which rows `i` of interventions.
    """
    return f"""
SELECT p.*, least(1, min(p.p * p.candidates / p.rank) OVER (PARTITION BY p.run_id, p.model_id ORDER BY p.p DESC)) AS adjusted_p
  FROM (SELECT c.*, count(*) OVER (PARTITION BY c.run_id, c.model_id) AS candidates,
               count(*) OVER (PARTITION BY c.run_id, c.model_id ORDER BY c.p) AS rank
          FROM (SELECT i.run_id, n.model_id, i.neuron_id, i.value, i.entropy_delta, i.entropy_se, i.scale_delta, i.loss_delta,
                       i.n_tokens, i.of_neuron_id, own.n_tokens AS compared_tokens, others.controls, others.largest_control,
                       CASE WHEN {sign}own.scale_delta > 0
                            THEN (1 + others.as_extreme)::double precision / (1 + others.controls) ELSE 1 END AS p
                  FROM public.interventions i
                  JOIN public.neurons n ON n.id = i.neuron_id
                  JOIN public.entropy_controls own ON own.run_id = i.run_id AND own.neuron_id = i.neuron_id
                   AND own.value = i.value AND own.along_neuron_id = i.neuron_id
                 CROSS JOIN LATERAL (
                       SELECT count(*) AS controls,
                              {"max" if sign == "+" else "min"}(o.entropy_delta) FILTER (WHERE {sign}o.scale_delta > 0)
                              AS largest_control,
                              count(*) FILTER (WHERE {sign}o.entropy_delta >= {sign}own.entropy_delta
                                                 AND {sign}o.scale_delta > 0) AS as_extreme
                         FROM public.entropy_controls o
                        WHERE o.run_id = i.run_id AND o.neuron_id = i.neuron_id AND o.value = i.value
                          AND o.along_neuron_id <> o.neuron_id
                          AND o.entropy_delta IS NOT NULL AND o.scale_delta IS NOT NULL) others
                 WHERE i.purpose = 'candidate' AND i.kind = 'fix' AND i.value = {value} AND {condition}
                   AND i.entropy_delta IS NOT NULL AND i.scale_delta IS NOT NULL
                   AND own.entropy_delta IS NOT NULL AND own.scale_delta IS NOT NULL AND others.controls > 0) c) p"""
