"""What readers see of the tables, made by `catalog db upgrade` from the code: it is in no migration.

overview        the views of no single part: members, labels, profiles, counts; and those of the parts
view_columns    what each column of a view says of itself
chance          how many neurons of a family chance gives, by the controls of a run
functions       functions of the schema, which views call
index_words     which query each index serves
unfrozen        all of it dropped before a migration, and created after it
"""
