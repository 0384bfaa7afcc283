"""The page of a profile's results: one HTML file that opens from disk with no network and no store.

Its data are packed as gzip in base64, a block each (`data`, `verdicts`, `world<seed>`), so that what nobody opens is
not unpacked. What is seen first is plain HTML.
"""

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore

from drift.files import write_whole
from evaluation.data.markdown import markdown
from pipelines.errors import StoreError
from pipelines.layout import OUTLINE, PAGE, REPORT, STUDY_RESULTS
from pipelines.page.items import texts, verdicts
from pipelines.page.key import key
from pipelines.page.numbers import numbers
from pipelines.page.paper import claim_by_claim
from pipelines.page.studied import BELOW, OPENING, Studied, studied
from pipelines.report.findings import Finding, findings
from pipelines.report.forest import forest
from pipelines.report.marked import STUDY
from pipelines.report.spec import AVERAGE
from pipelines.timeline import STEM

# In the order in which they need each other: they are inlined as one script, since a file from disk can import none.
MODULES = ("dom.js", "packed.js", "format.js", "state.js", "tables.js", "items.js", "cell.js", "main.js")
_IMPORT = re.compile(r"^import .*?;\n", re.MULTILINE | re.DOTALL)
_SIZE = re.compile(r'<svg[^>]* width="([\d.]+)pt" height="([\d.]+)pt"')
_PIXELS = 4 / 3  # a point has, in CSS
_HYPHEN = re.compile(r"(?<![\w.])-(?=\.?\d)")


def minus(text: str) -> str:
    """A text with a minus where a hyphen stood as a sign; dates, ranges and names keep theirs."""
    return _HYPHEN.sub("−", text)


def _said(value: Any) -> Any:
    """What the page's template says; what is HTML already keeps its hyphens."""
    return minus(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _minuses(state: StateCore) -> None:
    """Text has minuses, code keeps its hyphens."""
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "text":
                child.content = minus(child.content)


_ENVIRONMENT = jinja2.Environment(
    autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_said
)
_ENVIRONMENT.filters["signed"] = lambda value: minus(f"{round(value, 1) + 0.0:+.1f}")
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_MARKDOWN.core.ruler.push("minuses", _minuses)


def write_page(folder: Path) -> Path:
    """Builds `index.html` in a folder of results, from what lies in it, and opens its `report.md` with the study.

    Raises:
        StoreError: the folder holds no outline.
    """
    path, report = folder / PAGE, folder / REPORT
    write_whole(path, render(folder))
    write_whole(report, opened(report.read_text(encoding="utf-8"), folder))
    return path


def opened(report: str, folder: Path) -> str:
    """The report with the study's first words, and the paper claim by claim, before its own findings."""
    study = studied(folder)
    if study is None:
        return STUDY.without(report)
    paper = f"## The paper, claim by claim\n\n{_paper(study, findings(folder))}"
    return STUDY.insert(report, f"{study.first_words()}\n\n{paper}\n\n{BELOW}", "## Findings")


def _paper(study: Studied, found: Sequence[Finding]) -> str:
    return markdown(claim_by_claim(study.findings, found))


def render(folder: Path) -> str:
    """The page as text; the same results give the same text."""
    if not (folder / OUTLINE).exists():
        raise StoreError(
            f"{folder} holds no {OUTLINE}, so there is nothing to make a page of; make reproduce writes it"
        )
    outline = json.loads((folder / OUTLINE).read_text(encoding="utf-8"))
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    found, study = findings(folder), studied(folder)
    blocks = {"data": _data(folder, outline, provenance), "verdicts": verdicts(folder)}
    worlds = texts(folder)
    blocks |= {f"world{seed}": world for seed, world in worlds.items()}
    ran = what_ran(outline, provenance)
    dirty = [f"Code at {mark} had changes that no commit holds." for mark in ran["dirty"]]
    return _ENVIRONMENT.from_string(_file("index.html")).render(
        outline=outline,
        ran=ran,
        warnings=[*dirty, *outline["warnings"]],
        opening=[to_html(part) if part else "" for part in opening(outline["opening"])],
        study=study,
        answer=to_html(study.told()) if study else "",
        paper=to_html(_paper(study, found)) if study else "",
        ways=to_html(markdown(study.ways())) if study else "",
        every_way=to_html(markdown(study.every_way())) if study else "",
        first=OPENING,
        reading=to_html(outline["reading"]),
        findings=found,
        cells={each: address for each in found if (address := items_of(each, outline))},
        forest=forest(folder, found),
        titles={table["name"]: table["title"] for table in outline["tables"]},
        figures=_figures(folder, outline, study),
        key=key() if worlds else None,
        environments=provenance["environments"],
        css=_file("style.css"),
        script="\n".join(_IMPORT.sub("", _file(name)).replace("export ", "") for name in MODULES),
        blocks={name: _packed(block) for name, block in blocks.items()},
    )


def what_ran(outline: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The run in a few words: when its artifacts were begun, by which commits, over how many items and verdicts."""
    begun = sorted(record["started"] for record in provenance["artifacts"].values())
    marks = {environment["git"]["sha"][:10]: environment["git"]["dirty"] for environment in provenance["environments"]}
    own = outline["protocols"][0] if outline["protocols"] else {"name": "", "of": 0}
    return {
        "begun": begun[0][:10] if begun else "",
        "ended": begun[-1][:10] if begun else "",
        "commits": list(marks),
        "dirty": [mark for mark, dirty in marks.items() if dirty],
        "protocol": own["name"],
        "verdicts": own["of"],
        "artifacts": len(provenance["artifacts"]),
    }


def opening(text: str) -> tuple[str, str]:
    """The bold sentence that an opening begins with, and the rest; all of one that begins otherwise."""
    lead, _, rest = text.removeprefix("**").partition("** ")
    return (f"**{lead}**", rest) if text.startswith("**") else (text, "")


def to_html(text: str) -> str:
    """Markdown as HTML; what looks like HTML in it is text."""
    return str(_MARKDOWN.render(text))


def items_of(finding: Finding, outline: Mapping[str, Any]) -> str:
    """Where the page shows a finding's two rows item by item; empty where the page has no such table, or no scores."""
    table = next((each for each in outline["tables"] if each["name"] == finding.table), None)
    if table is None or finding.unit != "points":
        return ""
    keys = [column["key"] for column in table["columns"]]
    place = (finding.table, finding.first, AVERAGE if AVERAGE in keys else keys[0], finding.second)
    return "#cell/" + "/".join(quote(part, safe="") for part in place)


def _data(folder: Path, outline: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    configured = outline["protocols"][0]["name"] if outline["protocols"] else ""
    tables = [
        {
            **{
                key: table[key] for key in ("name", "title", "kind", "columns", "rows", "printed", "twins", "protocols")
            },
            "note": to_html(table["note"]),
            "findings": "".join(to_html(text) for text in table["findings"]),
            "numbers": numbers(folder, table, configured),
        }
        for table in outline["tables"]
    ]
    traced = {key: provenance[key] for key in ("artifacts", "cells", "settings", "environments")}
    return {"profile": outline["profile"], "protocols": outline["protocols"], "tables": tables, **traced}


def _figures(folder: Path, outline: Mapping[str, Any], study: Studied | None) -> list[dict[str, Any]]:
    """Each figure with its table, its size and an address that holds it, the study's first."""
    drawn = (
        []
        if study is None
        else [{"file": f"../{STUDY_RESULTS}/{name}", "title": said} for name, said in study.figures()]
    )
    drawn += [figure | {"table": table["name"]} for table in outline["tables"] for figure in table["figures"]]
    drawn += outline["figures"]
    if (folder / f"{STEM}.svg").exists():  # results that were published before a run have none
        drawn.append({"file": STEM, "title": "When each stage of the last run ran, and where"})
    return [{"table": ""} | figure | _picture(folder / f"{figure['file']}.svg") for figure in drawn]


def _picture(path: Path) -> dict[str, Any]:
    """A drawing as an address that holds it, and the pixels that are kept free for it until it is shown."""
    drawing = path.read_text(encoding="utf-8")
    stated = _SIZE.search(drawing)
    if stated is None:
        raise StoreError(f"{path} states no width and height in pt; make reproduce draws it again")
    width, height = (round(float(points) * _PIXELS) for points in stated.groups())
    address = "data:image/svg+xml;base64," + base64.b64encode(drawing.encode()).decode()
    return {"address": address, "width": width, "height": height}


def _packed(block: Any) -> str:
    text = json.dumps(block, separators=(",", ":"), ensure_ascii=False)
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _file(name: str) -> str:
    return resources.files("pipelines.page").joinpath(name).read_text(encoding="utf-8")
