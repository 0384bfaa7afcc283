"""Names that are shorter than a key's own last part, or that mean one key of several; light."""

ALIASES = {"alpha": "injection.alpha", "lr": "train.learning_rate", "zero": "train.zero_stage"}
