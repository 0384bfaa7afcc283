"""The study: many worlds, arms that were tuned alike, claims that were written down first."""
