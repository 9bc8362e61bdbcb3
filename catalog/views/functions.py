"""Functions of the schema, which views and readers call."""

READABLE = r"""CREATE FUNCTION public.readable(raw bytea) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
  WHEN encode(raw, 'escape') !~ '\\' THEN encode(raw, 'escape')
  ELSE (SELECT convert_from(decode(string_agg(
                 CASE WHEN piece[1] = '5c' THEN '5c5c'
                      WHEN piece[1] ~ '^(00|[89a-f].)$' THEN '5c78' || encode(convert_to(piece[1], 'UTF8'), 'hex')
                      ELSE piece[1] END, '' ORDER BY place), 'hex'), 'UTF8')
          FROM regexp_matches(encode(raw, 'hex'),
                 '(?:[1-467].|5[0-9abdef]|0[1-9a-f])+'
                 '|c[2-9a-f][89ab].|d.[89ab].'
                 '|e0[ab].[89ab].|e[1-9abcef](?:[89ab].){2}|ed[89].[89ab].'
                 '|f0[9ab].(?:[89ab].){2}|f[1-3](?:[89ab].){3}|f48.(?:[89ab].){2}|..', 'g')
               WITH ORDINALITY AS found(piece, place))
END"""
# Without a backslash the escaped form is plain ASCII, as most texts are. Else pieces of the hexadecimal form are runs of
# ASCII, characters of two to four bytes, or one byte: a backslash, NUL, or a byte that is no UTF-8 where it stands.

COSINE_ABOVE = r"""CREATE FUNCTION public.cosine_above(bound double precision, dimensions integer) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
  WHEN bound >= 1 THEN 0::double precision
  WHEN bound > 0 AND dimensions > 0 THEN (
    SELECT CASE WHEN tail.logarithm < -700 THEN 0 ELSE exp(tail.logarithm) END
      FROM (SELECT ln(bound / 2) + (dimensions - 1) / 2.0::double precision * ln(1 - bound * bound)
                   + CASE WHEN dimensions % 2 = 0 THEN ln(2 / pi()) ELSE 0 END
                   + (SELECT coalesce(sum(ln(k::double precision / (k + 1))), 0)
                        FROM generate_series(2 - dimensions % 2, dimensions - 2, 2) AS k)
                   + ln(1 + (SELECT sum(exp(term.logarithm))
                               FROM (SELECT sum(ln((1 - bound * bound) * (dimensions + 2 * k) / (dimensions + 1 + 2 * k)))
                                              OVER (ORDER BY k) AS logarithm
                                       FROM generate_series(0, ceil(-40 / ln(1 - bound * bound))::int) AS k) AS term))
                   AS logarithm) AS tail)
END"""
# P(c > t) = I(1 - t^2; (d - 1) / 2, 1 / 2) / 2, the regularised incomplete beta function, by its series of positive terms in
# powers of 1 - t^2, as logarithms: those of real models are below the least double.

FUNCTIONS = (
    (
        "public.readable(bytea)",
        "The text of UTF-8 bytes; NUL and bytes that are no UTF-8 are escaped as \\xNN, a backslash is doubled.",
        READABLE,
    ),
    (
        "public.cosine_above(double precision, integer)",
        "How probable the cosine of two random directions in so many dimensions is to be above a number between 0 and 1: "
        "(cosine + 1) / 2 ~ Beta((d - 1) / 2, (d - 1) / 2). NULL for other numbers below 1; 0 from 1 on.",
        COSINE_ABOVE,
    ),
)
"""Signature, comment and text."""


def statements() -> list[str]:
    """CREATE FUNCTION and COMMENT ON FUNCTION of all of them."""
    quoted = [(text, f"COMMENT ON FUNCTION {name} IS '{comment}'") for name, comment, text in FUNCTIONS]
    return [statement for both in quoted for statement in both]
