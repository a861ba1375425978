"""One file per peer: constants that say what it is, and ``create(database, options)``."""
