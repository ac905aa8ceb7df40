# The two commands of the README: `make demo` runs the embedded study, `make test` runs every test. Both set themselves up.

SHELL := /bin/bash
PYTHON ?= python3
CORES ?= 2
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-quick gpu-test bench bench-long setup lint format dag pictures report lock resume check clean slurm-profile slurm-up slurm-down slurm-test

demo: setup  ## run the embedded study to its leaderboard
	snakemake --cores $(CORES)

test: setup  ## every test, and small runs of the whole DAG; what took longest is told
	pytest -q -n $(CORES) --dist worksteal --durations=40 --durations-min=20

test-quick: setup  ## all but the slow tests: five minutes
	pytest -q -n $(CORES) --dist worksteal -m "not slow"

# ONLY=plan,follow chooses among them. A target that is missed is told in the table; it fails no run.
bench: setup  ## speed against named peers, small sizes: about four minutes on a quiet machine
	python -m tests.benchmarks --size small --only "$(ONLY)"

bench-long: setup  ## speed at full size and the studies on real data, kept in tests/benchmarks/records/
	python -m tests.benchmarks --size full --record --only "$(ONLY)"

setup: $(VENV)/.ready  ## the environment, exactly as locked

# The lock holds exact versions and hashes. uv installs it in seconds; plain pip does the same in minutes (README). Bytecode
# is compiled once here: otherwise every job of a study compiles some thousand modules again where it may not be kept.
$(VENV)/.ready: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.txt
	touch $@

lint: setup  ## style of Python and Snakemake files, and Snakemake's own advice
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	snakemake --lint

format: setup  ## put the style right
	ruff check --fix .
	ruff format .
	snakefmt Snakefile rules

dag: setup  ## a picture of the rule graph: results/dag.png
	@mkdir -p results
	@command -v dot >/dev/null || { echo "error: graphviz is missing. Hint: apt-get install graphviz"; exit 2; }
	snakemake --rulegraph --quiet all --forceall | dot -Tpng -Gdpi=110 -o results/dag.png
	@echo results/dag.png

pictures: demo  ## the pictures at the top of the README, from the finished demo: docs/pictures/
	@command -v dot >/dev/null || { echo "error: graphviz is missing. Hint: apt-get install graphviz"; exit 2; }
	python -m docs.pictures

report: setup  ## the self-contained report of the finished study: results/report.html
	snakemake --report results/report.html

lock: setup  ## compile requirements.in into requirements.txt again, for every Python from 3.11.0 on
	$(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --python-version 3.11 requirements.in --output-file requirements.txt

resume: setup  ## after a killed run: end what it left running, unlock, go on (WORDS="--wait" lets its jobs finish)
	python -m workflow_scripts.resume $(WORDS)

check: setup  ## list results that were lost or changed, and what kills left, with the commands that heal
	python -m workflow_scripts.check $(WORDS)

# PARTITION=gpu CPU_PARTITION=cpu ACCOUNT=lab MAIL_USER=me@site GPU_MODEL=h100 CONSTRAINT= QOS= RESERVATION= EXTRA= CUDNN=off JOBS= GPUS= NAME=slurm
slurm-profile: setup  ## your Slurm profile, once: then `snakemake --profile slurm` works
	python -m workflow_scripts.slurm_profile $(foreach key,NAME PARTITION CPU_PARTITION ACCOUNT MAIL_USER GPU_MODEL CONSTRAINT QOS RESERVATION EXTRA CUDNN JOBS GPUS,$(if $($(key)),--$(subst _,-,$(shell echo $(key) | tr A-Z a-z))='$($(key))'))

slurm-up: setup  ## a throw-away Slurm on this machine, to try things out (root; WORDS=--full with accounting)
	python -m tests.slurm.cluster up $(WORDS)

slurm-down: setup  ## end it
	python -m tests.slurm.cluster down

slurm-test: setup  ## every test on such a Slurm (FULL=1: with accounting)
	$(if $(FULL),python -m tests.slurm.cluster up --full)
	pytest -q tests/slurm
	$(if $(FULL),python -m tests.slurm.cluster down)

# Where no CUDA device is seen they are all skipped.
gpu-test: setup  ## what only a GPU can show: precisions, memory that runs out, waits, NCCL, compile, a YOLO training
	pytest -q tests/gpu

clean:  ## remove what can be made again but costs nothing: caches
	rm -rf .pytest_cache .ruff_cache .hypothesis
