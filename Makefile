# petbench: every target sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: app demo test bench bench-quick drills lint clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

app: $(STAMP)  ## set up, then open the app
	$(BIN)/petbench

demo: $(STAMP)  ## set up, then run quickstart
	$(BIN)/petbench run quickstart

# A worker a core; with one thread each, the small networks of the tests do not get into each other's way.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto

test: $(STAMP)  ## all tests: fast ones first, slow ones after
	$(PYTEST) -m "not slow"
	$(PYTEST) -m slow

OUT ?= build/bench

bench: $(STAMP)  ## every measurement of docs/performance.md, about an hour; results in OUT
	$(BIN)/python -m benchmarks.everything --out $(OUT) $(BENCH)

bench-quick: $(STAMP)  ## the first row of docs/performance.md in under 50 seconds; needs no data
	@$(BIN)/python -m benchmarks.quick

N ?= 0
MINUTES ?= 0
SEED ?= 0

drills: $(STAMP)  ## faults on purpose, hours of them; N=3: so many attempts of each; MINUTES=30: all in turn; DRILLS="kills disk": of these only
	$(BIN)/python -m drills --count $(N) --minutes $(MINUTES) --seed $(SEED) $(DRILLS)

lint: $(STAMP)  ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## remove the virtual environment and caches; runs/ stays
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
