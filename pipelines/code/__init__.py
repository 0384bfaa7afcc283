"""Which of the project's source a stage reaches, and its digest: static, nothing is imported or run."""
