"""Every parser that reads what an outsider wrote, in one table: hypothesis, the kept seeds and atheris run it."""
