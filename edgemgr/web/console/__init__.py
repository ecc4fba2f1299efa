"""The console's pages. `pages` answers whole ones, `live` the parts of them that refresh themselves."""
