"""Reads answers out of free text: the final part, a box, letters, numbers, yes or no. No benchmark is named here."""
