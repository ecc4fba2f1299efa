"""Store: the SQL adapter. The only place, with `model`, that knows SQLAlchemy; functions take an open session."""
