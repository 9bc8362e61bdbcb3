"""Where the database is: the embedded PostgreSQL or a server by URL, its engines, and the version of its schema."""
