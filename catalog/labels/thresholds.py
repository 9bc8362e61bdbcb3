"""The thresholds of the label rules: what they are, and a draft with one of them changed."""

from sqlalchemy import Connection, text

from catalog.answers import Rows, ask
from catalog.errors import InputError, NotFoundError, did_you_mean


def newest_version(connection: Connection, drafts: bool) -> int:
    """The newest published version of the rules; with `drafts` the newest of all."""
    condition = "" if drafts else "WHERE published_at IS NOT NULL"
    return int(connection.execute(text(f"SELECT max(version) FROM rule_versions {condition}")).scalar_one())


def in_force(connection: Connection, family: str, parameter: str) -> float:
    """The threshold that labels are made by now."""
    statement = "SELECT value FROM rules WHERE rule_version = :version AND family = :family AND parameter = :parameter"
    values = {"version": newest_version(connection, drafts=False), "family": family, "parameter": parameter}
    return float(connection.execute(text(statement), values).scalar_one())


def list_rules(connection: Connection, all_versions: bool = False) -> Rows:
    """One row per threshold in force, those of the newest published version; or per threshold and version, newest first."""
    return ask(
        connection,
        """SELECT r.rule_version, CASE WHEN v.published_at IS NULL THEN 'draft' ELSE 'published' END AS status,
                  r.family || '.' || r.parameter AS rule, r.value, r.description
           FROM rules r JOIN rule_versions v ON v.version = r.rule_version
           WHERE :all_versions OR v.version = (SELECT max(version) FROM rule_versions WHERE published_at IS NOT NULL)
           ORDER BY r.rule_version DESC, r.family, r.parameter""",
        {"all_versions": all_versions},
    )


def drafted_rules(connection: Connection) -> Rows:
    """The thresholds that a draft changes, with the values in force and in the draft; no rows where there is no draft."""
    return ask(
        connection,
        """SELECT d.rule_version, d.family || '.' || d.parameter AS rule, r.value AS in_force, d.value AS drafted
           FROM rule_versions v JOIN rules d ON d.rule_version = v.version
           JOIN rules r ON (r.family, r.parameter) = (d.family, d.parameter)
                       AND r.rule_version = (SELECT max(version) FROM rule_versions WHERE published_at IS NOT NULL)
           WHERE v.published_at IS NULL AND d.value <> r.value ORDER BY rule""",
    )


def set_rule(connection: Connection, rule: str, value: float) -> int:
    """Change one threshold in the draft version, which is begun as a copy of the newest if there is none.

    Returns:
        The draft's version.
    Raises:
        NotFoundError: no such threshold; the sentence lists them.
        InputError: the value is no finite number, or the stored measurements cannot answer for it.
    """
    if value != value or value in (float("inf"), float("-inf")):
        raise InputError(f"{value} is no threshold; give a finite number.")
    _check_answerable(connection, rule, value)
    connection.execute(text("LOCK TABLE rule_versions IN SHARE ROW EXCLUSIVE MODE"))
    newest = newest_version(connection, drafts=True)
    known = connection.execute(
        text("SELECT family || '.' || parameter FROM rules WHERE rule_version = :newest ORDER BY 1"), {"newest": newest}
    ).scalars()
    names = list(known)
    if rule not in names:
        raise NotFoundError(f"there is no rule {rule!r}{did_you_mean(rule, names)}; the rules are {', '.join(names)}.")
    if newest == newest_version(connection, drafts=False):
        connection.execute(text("INSERT INTO rule_versions (version) VALUES (:version)"), {"version": newest + 1})
        connection.execute(
            text(
                """INSERT INTO rules (rule_version, family, parameter, value, description)
                   SELECT rule_version + 1, family, parameter, value, description FROM rules WHERE rule_version = :newest"""
            ),
            {"newest": newest},
        )
        newest += 1
    connection.execute(
        text("UPDATE rules SET value = :value WHERE rule_version = :version AND family || '.' || parameter = :rule"),
        {"value": value, "version": newest, "rule": rule},
    )
    return newest


def _check_answerable(connection: Connection, rule: str, value: float) -> None:
    """Raises:
    InputError: no label can be decided by such a value, for what it asks about was not kept.
    """
    from catalog.parts import thresholds  # which loads the tables of all parts

    family, _, parameter = rule.partition(".")
    limits = thresholds().get((family, parameter))
    if limits is None:
        return
    refused = f"{rule} {value:g} cannot be answered from what is stored"
    for limit, outside in ((limits.least, "least"), (limits.most, "most")):
        if limit is not None and (value < limit if outside == "least" else value > limit):
            raise InputError(f"{refused}: {limits.beyond}; give {limit:g} at {outside}.")
    known = sorted(connection.execute(text(limits.among)).scalars()) if limits.among else []
    if known and value not in known:
        raise InputError(f"{refused}: {limits.beyond}; choose from {', '.join(f'{each:g}' for each in known)}.")
