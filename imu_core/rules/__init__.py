"""Rules that propose forget sets: a new one is a decorated function in a module of this folder."""
