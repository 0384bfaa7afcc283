"""`drift plan` on the screen: a short tree per table, then what all of it comes to; or every call, one a line."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pipelines import rates
from pipelines.forecast import Forecast, Machine, downloads, forecast, origin_of
from pipelines.held import State, states
from pipelines.schema import Config
from pipelines.session import freshness, rooted
from pipelines.sizes import terms
from pipelines.stage import Call, Needs, ordered
from pipelines.stages import STAGES
from pipelines.staleness import Freshness

_GPU_FOLDER = Path("/proc/driver/nvidia/gpus")
_HUB = "https://huggingface.co"


def show(target: Call, config: Config, whole: bool) -> None:
    """Prints the plan of a report; `whole` prints every call in place of the trees."""
    for line in lines(target, config, whole):
        print(line)


def lines(target: Call, config: Config, whole: bool) -> Iterator[str]:
    """The plan as lines; the last one counts what is held, to be run, and waiting for a choice."""
    store = rooted(config.store)
    calls, machine_rates = ordered([target]), rates.load(store)
    fresh = freshness(config)
    found = states(calls, fresh.store, fresh)

    prices = {call.key: call.needs_on(machine_rates) for call in calls}

    def needs(call: Call) -> Needs:
        return prices[call.key]

    if whole:
        for call in calls:
            state = found[call.key]
            yield f"{state.word:6} {call.stage.name:10} {state.mark:20.20} {call.label}  [{needs(call)}]"
        yield ""
    machine, said = _machine(config, calls)

    def price(some: Sequence[Call]) -> Forecast:
        held = {call.key for call in some if found[call.key].word == "store"}
        return forecast(some, held, config.keep, machine, needs)

    if not whole:
        for name, some in _by_table(target).items():
            yield from _tree(name, some, found, price(some), machine)
            yield ""
    yield from _downloads(downloads([c for c in calls if found[c.key].word != "store"]), needs)
    total = price(calls)
    yield f"all of it, what tables share counted once, with keep={config.keep}{said}:"
    yield f"  {_priced(total, machine)}"
    yield ""
    yield _counted(calls, found)
    yield from _stale(calls, found, fresh)


def _stale(calls: Sequence[Call], found: Mapping[str, State], fresh: Freshness) -> Iterator[str]:
    """Whose code changed, and which definitions."""
    stale = [
        (artifact, call)
        for call in calls
        if found[call.key].word == "stale" and (artifact := fresh.store.usable(call.stage.name, found[call.key].mark))
    ]
    if stale:
        follow = sum(state.word == "follow" for state in found.values())
        yield (
            f"code changed since: {len(stale)} artifacts: {fresh.describe(stale)}; made again, and of the {follow} "
            "made from them those whose inputs come out otherwise. --trust keeps them"
        )


def _by_table(target: Call) -> dict[str, list[Call]]:
    """Table -> every call that its cells need, under a title with its rows and seeds."""
    found: dict[str, list[Call]] = {}
    for table in target.params.tables:
        cells = [cell for cell in target.params.cells if cell.table == table.name]
        rows, seeds = len({cell.row for cell in cells}), len({cell.seed for cell in cells})
        sources = [target.inputs[name] for cell in cells for name in cell.artifacts.values()]
        found[f"{table.name}  {table.title}: {rows} rows, {seeds} seeds"] = ordered(sources)
    return found


def _tree(
    title: str, calls: Sequence[Call], found: Mapping[str, State], price: Forecast, machine: Machine
) -> Iterator[str]:
    counts = Counter(call.stage.name for call in calls)
    yield title
    yield f"├ {', '.join(f'{name} {counts[name]}' for name in STAGES if counts[name])}"
    yield f"├ {_counted(calls, found)}"
    yield f"└ alone: {_priced(price, machine)}"


def _counted(calls: Sequence[Call], found: Mapping[str, State]) -> str:
    counts = Counter(found[call.key].word for call in calls)
    again = f", {counts['stale']} to run again, {counts['follow']} that may follow" if counts["stale"] else ""
    return (
        f"{counts['store']} in the store, {counts['run']} to run{again}, {counts['after']} that wait for a chosen value"
    )


def _priced(price: Forecast, machine: Machine) -> str:
    place = f"{machine.gpus} GPUs" if machine.gpus else f"{machine.width} workers"
    parts = [
        *([f"{price.gpu_seconds / 3600:.0f} GPU h"] if price.gpu_seconds else []),
        f"about {duration(price.seconds)} on {place}",
        f"{gigabytes(price.kept)} kept, {gigabytes(price.peak)} at most",
        f"{gigabytes(price.downloaded)} to download",
        f"${price.dollars:.2f} for judges" if price.dollars else "no judge to pay",
    ]
    return "; ".join(parts)


def _downloads(calls: Sequence[Call], needs: Callable[[Call], Needs]) -> Iterator[str]:
    """Each repository with its size, its licence and what it asks for."""
    if not calls:
        return
    yield "downloads, into the hub's cache (HF_HOME, beside the store unless it is set):"
    for call in calls:
        size = gigabytes(needs(call).downloaded)
        repo = origin_of(call)
        if call.stage.name not in ("model", "data", "judge"):
            yield f"  {size:>8}  {repo} (each under its own licence)"
            continue
        licence, gated = terms(repo)
        asks = {"no": "", "unknown": "", "contact": ", asks for contact details", "request": ", access on request"}
        gate = f"{asks[gated]}: {_HUB}/{repo}" if asks[gated] else ""
        moving = getattr(call.params, "revision", "") == "locked"
        pinned = ", judges" if call.stage.name == "judge" else ", not pinned yet" if moving else ""
        yield f"  {size:>8}  {repo} ({licence}{gate}{pinned})"
    yield ""


def _machine(config: Config, calls: Sequence[Call]) -> tuple[Machine, str]:
    """This machine's GPUs where they suffice, else as many as the launcher says; and what to say of it."""
    most = max(call.needs.nodes * call.needs.gpus for call in calls)
    if not most:
        return Machine(config.launcher.workers, 0), ""
    found, stated = len(list(_GPU_FOLDER.glob("*"))), config.launcher.nodes * config.launcher.gpus
    if found >= most:
        gpus = min(found, stated) if stated else found
        return Machine(max(config.launcher.workers, gpus), gpus), f", on {gpus} of this machine's {found} GPUs"
    gpus = max(stated, most)
    return Machine(max(config.launcher.workers, gpus), gpus), f", as if with {gpus} GPUs (this machine has {found})"


def duration(seconds: float) -> str:
    """In the unit that a person would say."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def gigabytes(size: float) -> str:
    """Bytes as a person would say them."""
    if size >= 0.995e12:
        return f"{size / 1e12:.2f} TB"
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
