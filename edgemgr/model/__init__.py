"""What exists: tables, states and pure rules. No input or output happens here."""
