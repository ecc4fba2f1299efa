"""Bundles: signed offline content. Makes, signs, reads and verifies bundle files; it knows no table and no site."""
