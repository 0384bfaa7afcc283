# One command each; `make help` lists them. Set up happens by itself, once, into .venv.
# PYTHON=... picks another Python than the first of 3.11, 3.12, 3.13 that is found (.ci/setup).
PYTHON ?=
# cpu or cuda; a set-up that says neither keeps what is there. TORCH_INDEX is the index of another CUDA build than PyPI's.
DEVICE ?=
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= lab
ARGS ?=
# A name that is no variable of make's would be taken in silence.
$(foreach name,profile args table from,$(if $(filter command,$(origin $(name))),$(error $(name)=$($(name)) is not read here: names are in capitals, as PROFILE=smoke)))
# One compute thread a process: two stages side by side beat one stage on two threads, and runs repeat bit for bit.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help setup reproduce plan study claims report table export watch sync dashboards timeline test test-slow faults fuzz mutation check format bench bench-injection bench-merge bench-score bench-costs bench-data bench-recording \
	rehearse gpu-check setup-mergekit setup-clusters setup-inspect setup-vllm setup-vlmevalkit clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup:  ## install everything into .venv, versions from constraints.txt; DEVICE=cuda for GPUs
	@PYTHON="$(PYTHON)" DEVICE="$(DEVICE)" TORCH_INDEX="$(TORCH_INDEX)" .ci/setup

reproduce: setup  ## train the world, fill every table: results/<profile>; PROFILE=lab|smoke|paper|published ARGS="seeds=[0]"
	$(BIN)/drift reproduce profile=$(PROFILE) $(ARGS)

plan: setup  ## what reproduce would run and what the store holds; runs nothing
	$(BIN)/drift plan profile=$(PROFILE) $(ARGS)

rehearse: setup  ## the plan on small random weights of the real shapes, faults named: PROFILE=paper|small, ARGS="--all"
	$(BIN)/drift rehearse profile=$(patsubst lab,paper,$(PROFILE)) $(ARGS)

gpu-check: setup  ## what this machine's GPU does of it, and how fast: one JSON, which plan takes as its rates
	$(BIN)/python benchmarks/gpu_check.py $(ARGS)

study: setup  ## many worlds, arms tuned alike, claims written down first: results/study; ARGS="run worlds=3,4"
	$(BIN)/drift study $(ARGS)

claims: setup  ## each claim with its effect, interval and verdict, from results/study alone
	$(BIN)/drift claims $(ARGS)

report: setup  ## a study's tables, figures and claims from its verdicts alone: FROM=results/study
	$(BIN)/drift study report results=$(or $(FROM),results/study) $(ARGS)

table: setup  ## one table: TABLE=table4
	$(BIN)/drift table $(TABLE) profile=$(PROFILE) $(ARGS)

export: setup  ## the profile's results, provenance and verdicts as one tar.gz; no weights, no benchmark's text
	$(BIN)/drift export profile=$(PROFILE) $(ARGS)

watch: setup  ## the training that runs, live in this terminal (wandb leet)
	$(BIN)/drift track --watch $(ARGS)

sync: setup  ## send what was recorded on this disk to wandb's server; goes on where it stopped
	$(BIN)/drift track --sync $(ARGS)

dashboards: setup  ## the saved views and the report as code; ARGS="entity=NAME" saves them on the server
	$(BIN)/drift track --dashboards $(ARGS)

timeline: setup  ## when each stage of the last run ran and where: results/<profile>/timeline.png
	$(BIN)/python -m pipelines.timeline profile=$(PROFILE) $(ARGS)

# A file is one worker's, so that what its tests share is set up once.
test: setup  ## the tests: no network, no GPU
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

test-slow: setup  ## the rest of the numerical matrix, minutes each
	$(BIN)/python -m pytest -m slow $(ARGS)

faults: setup-clusters  ## kills a smoke reproduction again and again: FOLDER=... ARGS="--engine slurm --kills 10 --more 40"
	.venv-clusters/bin/python tests/faults/campaign.py $(or $(FOLDER),artifacts/faults) $(ARGS)

fuzz: setup  ## hostile files, 100,000 a reader; the tests have a hundred
	FUZZ=$(or $(FUZZ),100000) $(BIN)/python -m pytest tests/security/test_hostile.py tests/security/test_hostile_tables.py --timeout=0 $(ARGS)
	$(BIN)/python -m pytest -m slow -k mutated tests/evaluation/test_reader.py --timeout=0 $(ARGS)

mutation: setup  ## plants small faults in a copy of the tree and reports which the tests notice; ARGS="drift/scaling"
	$(BIN)/python tests/mutation/run.py $(ARGS)

check: setup  ## formatting, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: bench-injection bench-merge bench-score bench-costs bench-data bench-recording  ## every benchmark; prints ratios measured side by side

bench-injection: setup  ## plain SFT, hooks with a full Delta, and ours
	$(BIN)/python benchmarks/bench_injection.py $(ARGS)

bench-merge: setup-mergekit  ## our merges against mergekit's
	$(BIN)/python benchmarks/bench_merge.py $(ARGS)

bench-costs: setup  ## the plan's prices against what was measured, at three sizes
	$(BIN)/python benchmarks/bench_costs.py $(ARGS)

bench-data: setup  ## near-duplicates missed and taken for others, seconds for 11,000 answers; DRIFT_BENCHMARKS=folder
	$(BIN)/python benchmarks/bench_data.py $(ARGS)

bench-recording: setup  ## a command with and without recording, in turn; ARGS="--store artifacts": of all that a store holds
	$(BIN)/python benchmarks/bench_recording.py $(ARGS)

bench-score: setup  ## verdicts a second
	$(BIN)/python benchmarks/bench_score.py $(ARGS)

# mergekit wants packages that ours does not; torch and transformers are ours, so that both compute with the same kernels.
setup-mergekit: .venv-mergekit/.ready  ## mergekit 0.1.5 in .venv-mergekit, for the parity tests and bench-merge

setup-inspect: .venv-inspect/.ready  ## inspect_ai in .venv-inspect, to open what `drift export --inspect` writes

setup-clusters: .venv-clusters/.ready  ## submitit and Ray in .venv-clusters, for the tests and faults under SLURM and Ray

PURELIB := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'

.venv-mergekit/.ready .venv-clusters/.ready .venv-inspect/.ready: .venv-%/.ready: constraints-%.txt | setup
	@echo "making .venv-$*: what constraints-$*.txt pins, beside what is in .venv; what pip says is in .venv-$*/setup.log"
	@$(BIN)/python -m venv .venv-$*
	@$(BIN)/python $(PURELIB) > "$$(.venv-$*/bin/python $(PURELIB))/project.pth"
	@.venv-$*/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement constraints-$*.txt \
		> .venv-$*/setup.log 2>&1 || { tail -n 20 .venv-$*/setup.log >&2; exit 1; }
	@touch $@

setup-vllm:  ## vLLM 0.30.0 in .venv-vllm, for engine=vllm; on a machine with GPUs
	@PYTHON="$(PYTHON)" .ci/setup-vllm

# VLMEvalKit pins versions that ours exclude, and edits its process: an environment and a process of its own.
setup-vlmevalkit: setup  ## VLMEvalKit in .venv-vlmevalkit: SOURCE=git URL or local clone
	PYTHON=$(BIN)/python evaluation/toolkit/setup_vlmevalkit.sh "$(SOURCE)" .venv-vlmevalkit

clean:  ## remove the store of artifacts, unless a run uses it (the tables in results/ and what was recorded stay)
	if [ -x $(BIN)/python ]; then $(BIN)/python -m pipelines.clean $(ARGS); else rm -rf artifacts; fi
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
