"""The names of the files and folders that one stage writes into its artifact and another one reads."""

CHECKPOINT = "model"
SUMMARY = f"{CHECKPOINT}/summary.json"
PACE = f"{CHECKPOINT}/pace.jsonl"
TRAIN_FILE = "train.json"
PRIOR = "prior"
GEOMETRY = "geometry.json"
SCORES = "scores.json"
REPLIES = ".replies.jsonl"  # behind a benchmark's name: what a judge said of the items that were open to it
PUBLISHED = ".published.jsonl"  # behind a benchmark's name: the verdicts of whoever published its answers
TABLES = "tables"
FIGURES = "figures"
QUESTIONS = "questions.json"
SEEN = "seen.json"
