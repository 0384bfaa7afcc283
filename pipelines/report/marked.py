"""A part of a file that is written apart from the rest: between two markers, to be put in, changed and taken out."""

from dataclasses import dataclass

from pipelines.errors import ConfigError


@dataclass(frozen=True)
class Part:
    """The two lines that it stands between."""

    begin: str
    end: str

    def put(self, text: str, content: str, name: str) -> str:
        """The text with this content between its markers.

        Raises:
            ConfigError: a marker is missing; `name` is the file's.
        """
        before, first, rest = text.partition(self.begin)
        _, second, after = rest.partition(self.end)
        if not (first and second):
            raise ConfigError(
                f"{name} lacks {self.begin if not first else self.end}, between which results are written"
            )
        return f"{before}{self.begin}\n{content}\n{self.end}{after}"

    def insert(self, text: str, content: str, before: str) -> str:
        """The text with this part above what begins with `before`, at the end where nothing does."""
        head, found, rest = self.without(text).partition(f"\n{before}")
        return f"{head}{found[:1]}{self.begin}\n{content}\n{self.end}\n\n{found[1:]}{rest}"

    def without(self, text: str) -> str:
        """The text as it was before `insert`, byte for byte."""
        before, found, rest = text.partition(f"{self.begin}\n")
        return before + rest.partition(f"{self.end}\n\n")[2] if found else text


README = Part("<!-- results: written by `drift readme` -->", "<!-- end of results -->")
STUDY = Part("<!-- the study: written by `drift page` -->", "<!-- end of the study -->")
