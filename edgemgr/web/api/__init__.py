"""`/api/v1`: the documents of `-o json`, over HTTP."""
