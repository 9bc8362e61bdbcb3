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

FUNCTIONS = (
    (
        "public.readable(bytea)",
        "The text of UTF-8 bytes; NUL and bytes that are no UTF-8 are escaped as \\xNN, a backslash is doubled.",
        READABLE,
    ),
)
"""Signature, comment and text."""


def statements() -> list[str]:
    """CREATE FUNCTION and COMMENT ON FUNCTION of all of them."""
    quoted = [(text, f"COMMENT ON FUNCTION {name} IS '{comment}'") for name, comment, text in FUNCTIONS]
    return [statement for both in quoted for statement in both]
