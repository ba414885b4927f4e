# Each target works on a fresh clone: it makes .venv first, with python3, pip and these files alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.imu-installed

.PHONY: app test lint fix bench install pins clean
.DEFAULT_GOAL := app

app: $(STAMP)
	@$(BIN)/imu app

# One thread: the tests' small models are no faster on two, and the browser tests need a core too.
test: lint
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/ty check imu_core

fix: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP)
	@for program in benchmarks/*.py; do \
		echo "== $$program"; $(BIN)/python $$program || exit 1; \
	done

install: $(STAMP)

# pip of the system puts uv into .venv (never beside the system's own packages); uv does the rest.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "imu-studio needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Say which one to use: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	@test -x $(BIN)/uv \
		|| $(PYTHON) -m pip --python $(BIN)/python install --quiet uv \
		|| { $(BIN)/python -m ensurepip && $(BIN)/python -m pip install --quiet uv; }
	$(BIN)/uv pip install --python $(BIN)/python --constraints constraints.txt --editable '.[dev]'
	@touch $@

# Newest versions that go together, without addresses, for every Python from 3.11.
pins: $(STAMP)
	@sed -n '/^#/p' constraints.txt >.pins
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet \
		| grep -vE '^(torch|torchvision|triton|setuptools|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==' >>.pins
	@mv .pins constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
