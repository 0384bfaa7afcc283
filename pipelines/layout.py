"""The names of the files and folders that one stage writes into its artifact and another one reads."""

CHECKPOINT = "model"
SUMMARY = f"{CHECKPOINT}/summary.json"
PACE = f"{CHECKPOINT}/pace.jsonl"
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
HEADLINE = "headline"  # of the figures: the main table at one glance
VERDICTS = "verdicts"
ITEMS = "items"
PROTOCOLS = "protocols"  # the numbers of tables that another scoring protocol changes
APPENDIX = "appendix.md"
PAGE = "index.html"  # of a report and its data, for a browser
OUTLINE = "outline.json"  # of a report: its tables, their columns and rows, what is said below them
CLAIMS = "claims.json"
QUESTIONS = "questions.json"
DATA = "data"  # of a report: the funnel of each distilled set, and some of what was left out
SEEN = "seen.json"
REPORT = "report.md"
STUDY_RESULTS = "study"  # the folder of the study's results, beside those of the profiles
