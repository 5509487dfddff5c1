# petbench: every target sets up .venv by itself. CONTRIBUTING.md says when to use which.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help app demo test check touched bench bench-quick bench-gpu labelling drills lowest lint clean

help:  ## what each target does
	@awk -F ':.*##[ ]*' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

app: $(STAMP)  ## set up, then open the app
	$(BIN)/petbench

demo: $(STAMP)  ## set up, then run quickstart
	$(BIN)/petbench run quickstart

# A worker a core, with one thread each: the small networks do not get into each other's way. Each begins with a half of
# its own, so that what a file's tests share is made once, and at the end takes from what the other has left.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

test: $(STAMP)  ## all tests: fast ones first, slow ones after
	$(PYTEST) -m "not slow"
	$(PYTEST) -m slow

check: lint touched  ## before a commit: lint, and the fast tests of what differs from main

touched: $(STAMP)  ## the fast tests beside what differs from BASE (main), committed or not
	@tests=$$($(BIN)/python -m tests.touched $(BASE)) && if [ -n "$$tests" ]; then \
		echo "fast tests of: $$tests"; \
		$(PYTEST) -m "not slow" $$tests || [ $$? = 5 ]; \
	fi  # 5: all of them are slow ones

OUT ?= build/bench

bench: $(STAMP)  ## every measurement of docs/performance.md, about an hour; results in OUT
	$(BIN)/python -m benchmarks.everything --out $(OUT) $(BENCH)

bench-quick: $(STAMP)  ## the first row of docs/performance.md in under 50 seconds; needs no data
	@$(BIN)/python -m benchmarks.quick

bench-gpu: $(STAMP)  ## all that only a GPU can show, in under 8 minutes; fetches nothing; results in build/bench-gpu
	$(BIN)/python -m benchmarks.gpu_page $(BENCH)

N ?= 0
MINUTES ?= 0
SEED ?= 0

labelling: $(STAMP)  ## how far so many strokes of petbench label go, beside random ones
	$(BIN)/python -m benchmarks.labelling

drills: $(STAMP)  ## faults on purpose, hours of them; N=3: so many attempts of each; MINUTES=30: all in turn; DRILLS="kills disk": of these only
	$(BIN)/python -m drills --count $(N) --minutes $(MINUTES) --seed $(SEED) $(DRILLS)

# What hangs on the version of torch. uv alone resolves to the lowest versions.
LOWEST ?= tests/compute tests/train/test_loss_scale.py tests/train/test_online_meta.py tests/train/test_online_losses.py \
	tests/train/test_optim.py tests/train/test_step.py tests/train/test_precision.py tests/fixtures

lowest:  ## the tests of LOWEST on the lowest versions that pyproject.toml allows: 4 GB of downloads first
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct \
		--editable . 'pytest>=8' 'pytest-asyncio>=0.24' 'pytest-timeout>=2.3' 'hypothesis>=6.100'
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest $(LOWEST)

lint: $(STAMP)  ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## remove the virtual environment and caches; runs/ stays
	rm -rf $(VENV) .venv-lowest build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
