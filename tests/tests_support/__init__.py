"""Real neighbours that the tests start and end themselves."""
