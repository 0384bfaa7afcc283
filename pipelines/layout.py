"""The names of the files and folders that one stage writes into its artifact and another one reads."""

CHECKPOINT = "model"
SUMMARY = f"{CHECKPOINT}/summary.json"
TRAIN_FILE = "train.json"
PRIOR = "prior"
GEOMETRY = "geometry.json"
SCORES = "scores.json"
REPLIES = ".replies.jsonl"  # behind a benchmark's name: what a judge said of the items that were open to it
AUDITED = ".audited.jsonl"  # the same of decided items that it was asked about too
PROMPTS = ".prompts.json"  # what it was asked, with {places} for what differs from item to item
PUBLISHED = ".published.jsonl"  # behind a benchmark's name: the verdicts of whoever published its answers
TABLES = "tables"
FIGURES = "figures"
QUESTIONS = "questions.json"
SEEN = "seen.json"
